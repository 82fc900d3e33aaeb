/** `hone resume`: goes on with a run that was stopped, killed or paused. @module */
import { join } from "node:path";
import { z } from "zod";
import { loadPipeline } from "../../pipeline/config.ts";
import { findRun } from "../../pipeline/control.ts";
import { builtins } from "../../plugins/mod.ts";
import { perform } from "./perform.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "resume",
  summary: "Go on with a run that was stopped.",
  description:
    "Does again what has no closing record, and nothing else: finished rollouts, steps and evaluations are kept. " +
    "The run's own pipeline.yaml is what runs. Where a server's tools are no longer what the run began with, it says " +
    "exactly what changed, and goes on only with --accept-changes.",
  positional: [{
    name: "run",
    description: "A run's folder, its id or the beginning of one; the newest when left out.",
    optional: true,
  }],
  args: z.strictObject({
    yes: z.boolean().default(false).describe(
      "Do not ask before the pipeline's programs are started for the first time.",
    ),
    accept_changes: z.boolean().default(false).describe(
      "Go on although the servers' tools have changed since the run began.",
    ),
    verbose: z.boolean().default(false).describe("Show the plugins' debug lines too."),
  }),
  examples: ["hone resume", "hone resume runs/files-20261121-104500-a1b2"],
  async run({ args, positional, out, err, signal, format }) {
    const run_dir = await findRun(positional[0] ?? "latest");
    const loaded = await loadPipeline(join(run_dir, "pipeline.yaml"), { builtins, signal });
    return await perform(loaded, { run_dir, resume: true, ...args, format, signal, out, err });
  },
});
