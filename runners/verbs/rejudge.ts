/**
 * `hone rejudge <run>`: judges the recorded rollouts of a run again, with other judges or the same ones after a change.
 * The results are a run's folder of their own; the run is only read.
 * @module
 */
import { existsSync } from "node:fs";
import { rmdir } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { z } from "zod";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { copyForJudging } from "../../pipeline/store/judging_copy.ts";
import { findRun } from "../../pipeline/store/live_run.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { type Ended, ended, endedJson, endedText } from "./ended.ts";
import { newId, overridesOf, performing } from "./new_run.ts";
import { perform } from "./perform.ts";
import { defineVerb, terminalOnly } from "./verb.ts";

export default defineVerb({
  name: "rejudge",
  summary: "Judge the rollouts of a run again.",
  description:
    "Has the judges and the reward shaper of a pipeline score the recorded rollouts of a run and what was observed of them, " +
    "without a rollout, a server or a model of the agent. The result is a copy of the run with the new judgements, rewards, " +
    "evaluations and verdict, in rejudged/<id> next to it; the run itself is only read. Scenarios are judged as the pipeline's " +
    "files have them now, unless their task or setup has changed. A judge that needs an observation that was not recorded " +
    "returns invalid. Replies of language models that are cached cost nothing. Ctrl-C stops it; `hone resume` continues it.",
  effect: "runs",
  positional: [{ name: "run", description: "A run's folder, its id or a prefix of it, or `latest`." }],
  args: z.strictObject({
    pipeline: z.string().optional().describe(
      "Pipeline whose judges, reward shaper and scenarios are used. Default: the run's own.",
    ),
    set: z.array(z.string()).default([]).describe(
      "Override a value of the pipeline, for example stages.rubric.with.endpoint.model=other; repeatable.",
    ),
    run_dir: terminalOnly(
      z.string().optional().describe("Folder for the result. Default: rejudged/<id> next to the run."),
    ),
    ...performing,
  }),
  result: ended,
  examples: [
    "hone rejudge latest",
    "hone rejudge latest --pipeline other_judges.yaml",
    "hone rejudge runs/files-20261121-104500-a1b2 --set stages.rubric.with.endpoint.model=other",
  ],
  async detached([word = "latest"]) {
    const source = await findRun(word);
    const run_dir = beside(source, basename(source).replace(/-\d{8}-\d{6}-[0-9a-f]{4}$/, ""));
    return { run_dir, words: [source, "--run-dir", run_dir, "--yes"] };
  },
  async run(call): Promise<Ended> {
    const { args, positional, signal } = call;
    const source = await findRun(positional[0]!);
    const path = args.pipeline ?? join(source, "pipeline.yaml");
    // No server is started.
    const approve = approval(call, relative(Deno.cwd(), path), { of: "judging" });
    const overrides = overridesOf(args.set);
    const loaded = await loadPipeline(path, { builtins, signal, overrides, trains: false, approve });
    const run_dir = args.run_dir === undefined ? beside(source, loaded.config.name) : resolve(args.run_dir);
    if (existsSync(join(run_dir, "run.duckdb"))) throw new HoneError(cli.run_exists(run_dir));
    try {
      await copyForJudging(source, run_dir);
    } catch (error) {
      await rmdir(run_dir).catch(() => {});
      throw error;
    }
    return await perform(loaded, call, { run_dir, resume: true });
  },
  formats: { json: endedJson },
  text: endedText,
  exit: ({ exit }) => exit,
});

/** A new folder next to a run's. */
function beside(source: string, name: string): string {
  return join(dirname(source), "rejudged", newId(name));
}
