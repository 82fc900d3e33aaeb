/** `hone resume`: continues a run that was stopped, killed or paused. @module */
import { join, relative } from "node:path";
import { z } from "zod";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { recordedPurpose } from "../../pipeline/run/open_run.ts";
import { suitesCompleted } from "../../pipeline/run/run_suites.ts";
import { findRun, lockHolder, openRun } from "../../pipeline/store/live_run.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { type Ended, ended, endedJson, endedText, reportIn } from "./ended.ts";
import { performing } from "./new_run.ts";
import { perform } from "./perform.ts";
import { defineVerb } from "./verb.ts";

const complete = z.object({
  status: z.literal("completed"),
  run_dir: z.string(),
  report: z.string().describe("Path of the existing report: the run was already complete."),
});

export default defineVerb({
  name: "resume",
  summary: "Resume a stopped run.",
  description:
    "Repeats only what was not finished: finished rollouts, steps and evaluations are kept. It runs the run's own " +
    "pipeline.yaml and rereads the files that it references, such as scenarios. If a server's tools have changed since " +
    "the run started, it lists the changes and continues only with --accept-changes. A complete run is not changed.",
  effect: "runs",
  positional: [{
    name: "run",
    description: "A run's folder, its id or a prefix of it. Default: the newest run.",
    optional: true,
  }],
  args: z.strictObject({
    yes: performing.yes,
    accept_changes: z.boolean().default(false).describe(
      "Continue although the servers' tools have changed since the run started.",
    ),
    verbose: performing.verbose,
  }),
  result: z.union([ended, complete]),
  examples: ["hone resume", "hone resume runs/files-20261121-104500-a1b2"],
  async detached([word = "latest"]) {
    const run_dir = await findRun(word);
    return { run_dir, words: [run_dir, "--yes"] };
  },
  async run(call): Promise<Ended | z.output<typeof complete>> {
    const { args: { accept_changes }, positional, signal } = call;
    const run_dir = await findRun(positional[0] ?? "latest");
    if (await isComplete(run_dir)) return { status: "completed", run_dir, report: join(run_dir, "report.html") };
    const file = join(run_dir, "pipeline.yaml");
    const { rejudging, measure } = await recordedPurpose(run_dir);
    const approve = approval(call, relative(Deno.cwd(), file), { of: rejudging ? "plugins" : "everything" });
    const trains = !rejudging && measure === undefined;
    const loaded = await loadPipeline(file, { builtins, signal, approve, trains });
    return await perform(loaded, call, { run_dir, resume: true, accept_changes });
  },
  formats: { json: endedJson },
  text: (value) =>
    "report" in value ? `complete: nothing left to do; report: ${reportIn(value.run_dir)}` : endedText(value),
  exit: (value) => "exit" in value ? value.exit : 0,
});

async function isComplete(run_dir: string): Promise<boolean> {
  if ((await lockHolder(run_dir)) !== null) return false;
  await using run = await openRun(run_dir);
  const [facts] = await run.query("SELECT status FROM runs");
  return facts?.status === "completed" && await suitesCompleted(run_dir);
}
