/** `hone pause`: pauses a live run, to be resumed later. @module */
import { args, positional, result, stop, text } from "./stopping.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "pause",
  summary: "Pause a live run.",
  description:
    "Stops a live run immediately and marks it as paused. Its records are kept; `hone resume` continues it and repeats the " +
    "rollouts that were in progress.",
  effect: "acts",
  positional,
  args,
  result,
  examples: ["hone pause", "hone pause runs/files-20261121-104500-a1b2 --no-wait"],
  run: (call) => stop("pause", call),
  text,
});
