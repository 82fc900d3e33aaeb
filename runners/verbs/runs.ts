/** `hone runs`: the runs of this folder, newest first. @module */
import { z } from "zod";
import { type FoundRun, listRuns, openRun } from "../../pipeline/store/live_run.ts";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { namedRun } from "./named_run.ts";
import { table } from "./table.ts";
import { type Caller, defineVerb } from "./verb.ts";

const described_run = z.object({
  id: z.string(),
  status: z.string().nullable().describe(
    "`running (pid)`, `interrupted`, how the run ended, or why its records cannot be read.",
  ),
  changed: z.string().describe("Time of the last write to its records, in UTC."),
  rollouts: z.int().nullable(),
  steps: z.int().nullable(),
  sentence: z.string().nullable().describe("Sentence of the verdict."),
  run_dir: z.string(),
});
type DescribedRun = z.output<typeof described_run>;

export default defineVerb({
  name: "runs",
  summary: "List runs.",
  description:
    "Lists the runs in a folder, newest first: status, number of rollouts and steps, and the verdict's sentence. " +
    "`interrupted` means that the process has exited and `hone resume` can continue the run.",
  effect: "reads",
  positional: [],
  args: z.strictObject({
    dir: z.string().default("runs").describe("Folder of the runs."),
    limit: z.int().min(1).default(20).describe("Maximum number of runs."),
  }),
  result: z.array(described_run),
  examples: ["hone runs", "hone runs --limit 100 --format json"],
  async run({ args, caller }) {
    const rows = [];
    const found = await listRuns(await caller.within(args.dir));
    for (const run of found.slice(0, args.limit)) rows.push(await described(run, caller));
    return rows;
  },
  text: (rows) => rows.length > 0 ? table(rows.map(({ run_dir: _dir, ...row }) => row)) : "",
  remarks: (rows, { args }) => rows.length > 0 ? [] : [`no runs in ${args.dir}: \`hone run pipeline.yaml\` starts one`],
});

const FACTS = `SELECT (SELECT status FROM runs) AS status, (SELECT sentence FROM runs) AS sentence,
  (SELECT count(*) FROM rollout_ends) AS rollouts, (SELECT count(*) FROM train_steps) AS steps`;

type Facts = Pick<DescribedRun, "status" | "sentence" | "rollouts" | "steps">;

/** An unreadable run does not hide the others. */
async function described({ id, run_dir, pid, modified }: FoundRun, caller: Caller): Promise<DescribedRun> {
  const changed = new Date(modified).toISOString().slice(0, 19) + "Z";
  try {
    await using run = await openRun(await namedRun(run_dir, caller));
    const [{ status, rollouts, steps, sentence }] = await run.query(FACTS) as unknown as [Facts];
    const now = run.live ? `running (${pid})` : status === "running" ? "interrupted" : status;
    return { id, status: now, changed, rollouts, steps, sentence, run_dir };
  } catch (error) {
    if (!(error instanceof HoneError)) throw error;
    return { id, status: error.code, changed, rollouts: null, steps: null, sentence: error.message, run_dir };
  }
}
