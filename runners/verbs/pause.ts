/** `hone pause`: stops a live run that is to go on later. @module */
import { args, positional, stop } from "./stopping.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "pause",
  summary: "Stop a live run so that it can go on later.",
  description:
    "Asks a live run to stop at once. What is recorded is kept; rollouts in flight are done again on `hone resume`. The run " +
    "counts as paused.",
  positional,
  args,
  examples: ["hone pause", "hone pause runs/files-20261121-104500-a1b2 --no-wait"],
  run: (context) => stop("pause", context),
});
