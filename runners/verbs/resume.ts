/** `hone resume`: goes on with a run that was stopped, killed or paused. @module */
import { join, relative } from "node:path";
import { z } from "zod";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { findRun, lockHolder, openRun } from "../../pipeline/store/live_run.ts";
import { builtins } from "../../plugins/mod.ts";
import { perform } from "./perform.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "resume",
  summary: "Go on with a run that was stopped.",
  description:
    "Does again what has no closing record, and nothing else: finished rollouts, steps and evaluations are kept. " +
    "The run's own pipeline.yaml is what runs; the files that it names, such as scenarios, are read as they are now. " +
    "Where a server's tools are no longer what the run began with, it says exactly what changed, and goes on only with " +
    "--accept-changes. A run that is complete is left as it is.",
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
    if (await isComplete(run_dir)) {
      const dir = relative(Deno.cwd(), run_dir) || ".";
      if (format === "json") {
        out(JSON.stringify({ status: "completed", run_dir, report: join(run_dir, "report.html") }));
      } else out(`complete: there is nothing left to do; the report is ${dir}/report.html`);
      return 0;
    }
    const loaded = await loadPipeline(join(run_dir, "pipeline.yaml"), { builtins, signal });
    return await perform(loaded, { run_dir, resume: true, ...args, format, signal, out, err });
  },
});

async function isComplete(run_dir: string): Promise<boolean> {
  if ((await lockHolder(run_dir)) !== null) return false;
  await using run = await openRun(run_dir);
  const [facts] = await run.query("SELECT status FROM runs");
  return facts?.status === "completed";
}
