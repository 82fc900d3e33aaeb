/** `hone cancel`: stops a live run. @module */
import { args, positional, result, stop, text } from "./stopping.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "cancel",
  summary: "Cancel a live run.",
  description:
    "Stops a live run immediately and marks it as cancelled. Its records are kept, and `hone resume` can continue it.",
  effect: "acts",
  positional,
  args,
  result,
  examples: ["hone cancel", "hone cancel runs/files-20261121-104500-a1b2 --no-wait"],
  run: (call) => stop("cancel", call),
  text,
});
