/** `hone pause`: stops a live run that is to go on later. @module */
import { args, positional, result, stop, text } from "./stopping.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "pause",
  summary: "Stop a live run so that it can go on later.",
  description:
    "Asks a live run to stop at once. What is recorded is kept; rollouts in flight are done again on `hone resume`. The run " +
    "counts as paused.",
  effect: "acts",
  positional,
  args,
  result,
  examples: ["hone pause", "hone pause runs/files-20261121-104500-a1b2 --no-wait"],
  run: (call) => stop("pause", call),
  text,
});
