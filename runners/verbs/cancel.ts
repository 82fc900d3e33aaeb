/** `hone cancel`: stops a live run. @module */
import { args, positional, result, stop, text } from "./stopping.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "cancel",
  summary: "Stop a live run.",
  description:
    "Asks a live run to end at once; it counts as cancelled. What is recorded is kept, and `hone resume` can still go on.",
  effect: "acts",
  positional,
  args,
  result,
  examples: ["hone cancel", "hone cancel runs/files-20261121-104500-a1b2 --no-wait"],
  run: (call) => stop("cancel", call),
  text,
});
