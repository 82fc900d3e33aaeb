/** `hone runs`: the runs of this folder, newest first. @module */
import { z } from "zod";
import { type FoundRun, listRuns, openRun } from "../../pipeline/store/live_run.ts";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { table } from "../cli/table.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "runs",
  summary: "List runs.",
  description:
    "Lists the runs of a folder, newest first: their status, how many rollouts and steps they hold, and the verdict's " +
    "sentence. `interrupted` means that the process is gone and `hone resume` can go on.",
  positional: [],
  args: z.strictObject({
    dir: z.string().default("runs").describe("The folder that holds the runs."),
    limit: z.int().min(1).default(20).describe("Runs shown at most."),
  }),
  examples: ["hone runs", "hone runs --limit 100 --format json"],
  async run({ args, out, err, format }) {
    const found = (await listRuns(args.dir)).slice(0, args.limit);
    const rows = [];
    for (const run of found) rows.push(await described(run));
    if (format === "json") out(JSON.stringify(rows));
    else if (rows.length === 0) err(`no runs in ${args.dir}: \`hone run pipeline.yaml\` makes one`);
    else out(table(rows.map(({ run_dir: _dir, ...row }) => row)));
    return 0;
  },
});

const FACTS = `SELECT (SELECT status FROM runs) AS status, (SELECT sentence FROM runs) AS sentence,
  (SELECT count(*) FROM rollout_ends) AS rollouts, (SELECT count(*) FROM train_steps) AS steps`;

/** One run that cannot be read does not hide the others. */
async function described({ id, run_dir, pid, modified }: FoundRun) {
  const changed = new Date(modified).toISOString().slice(0, 19) + "Z";
  try {
    await using run = await openRun(run_dir);
    const [facts = {}] = await run.query(FACTS);
    const status = run.live ? `running (${pid})` : facts.status === "running" ? "interrupted" : facts.status;
    return { id, status, changed, rollouts: facts.rollouts, steps: facts.steps, sentence: facts.sentence, run_dir };
  } catch (error) {
    if (!(error instanceof HoneError)) throw error;
    return { id, status: error.code, changed, rollouts: null, steps: null, sentence: error.message, run_dir };
  }
}
