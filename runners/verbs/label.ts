/** `hone label`: what a person says of rollouts, recorded with them. @module */
import { z } from "zod";
import { textOf } from "../../pipeline/common/read_text.ts";
import { HoneError, labels as messages } from "../../pipeline/diagnostics/mod.ts";
import type { Label } from "../../pipeline/events.ts";
import { label_schema, labelsIn, recordLabels } from "../../pipeline/store/labels.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { asLabel } from "../../pipeline/store/recorded.ts";
import { namedRun } from "./named_run.ts";
import { table } from "./table.ts";
import { type Asked, defineVerb } from "./verb.ts";

const args = z.strictObject({
  reason: z.string().max(10_000).default("").describe("Why; recorded with the label."),
  by: z.string().min(1).max(200).optional().describe(
    "Who says so. Of each person the last label of a rollout counts. Default: nobody is named.",
  ),
  import: z.string().optional().describe(
    "A file of labels, as report.html saves it; recorded as a whole or not at all.",
  ),
  list: z.boolean().default(false).describe("List the labels of the run, and record none."),
});
type Args = z.output<typeof args>;

const SCORES: Record<string, number> = { up: 1, down: 0 };

export default defineVerb({
  name: "label",
  summary: "Record what a person says of a run's rollouts.",
  description:
    "Records a thumb up or down for a rollout, or a file of them, in the run's records (table labels), while the run is " +
    "live and afterwards. judge/human scores by them when the run is judged again (`hone rejudge`), and `hone audit` " +
    "compares other judges with them. Nothing else of the run changes.",
  effect: "acts",
  positional: [
    { name: "run", description: "A run's folder, its id or a prefix of it, or `latest`." },
    { name: "rollout", description: "The rollout's id.", optional: true },
    { name: "thumb", description: "`up` or `down`.", optional: true },
  ],
  args,
  result: z.object({
    run_dir: z.string(),
    recorded: z.int().describe("Number of labels that were recorded."),
    labels: z.array(label_schema).describe("With `list`, all labels of the run; otherwise those that were recorded."),
  }),
  examples: [
    'hone label latest train-write-oak-0-1 down --reason "it overwrote the file"',
    "hone label latest --import ~/Downloads/labels.json",
    "hone label latest --list",
  ],
  async run({ args, positional: [word, rollout, thumb], caller }) {
    check(args, rollout);
    const run_dir = await namedRun(word!, caller);
    if (args.list) return { run_dir, recorded: 0, labels: await listed(run_dir) };
    const labels = args.import === undefined
      ? [thumbOf(args, rollout!, thumb)]
      : await imported(run_dir, await caller.within(args.import), args.by);
    await recordLabels(run_dir, labels);
    return { run_dir, recorded: labels.length, labels };
  },
  text({ recorded, labels }, { args }) {
    if (!args.list) return `${recorded} ${recorded === 1 ? "label" : "labels"} recorded`;
    return labels.length === 0 ? "" : table(labels.map(({ rollout_id, score, reason, labelled_by }) => ({
      rollout_id,
      score,
      reason,
      labelled_by: labelled_by ?? "",
    })));
  },
  remarks: ({ labels }, { args }: Asked<Args>) => args.list && labels.length === 0 ? ["no labels"] : [],
});

function check({ list, import: path }: Args, rollout: string | undefined): void {
  const asked = [
    ...(list ? ["--list"] : []),
    ...(path === undefined ? [] : ["--import"]),
    ...(rollout === undefined ? [] : ["a rollout"]),
  ];
  if (asked.length === 0) throw new HoneError(messages.no_rollout());
  if (asked.length > 1) throw new HoneError(messages.not_together(asked[0]!, asked[1]!));
}

function thumbOf({ reason, by }: Args, rollout_id: string, thumb: string | undefined): Label {
  if (thumb === undefined || !Object.hasOwn(SCORES, thumb)) throw new HoneError(messages.bad_thumb(thumb));
  return { rollout_id, score: SCORES[thumb]!, reason, ...(by !== undefined && { labelled_by: by }) };
}

async function imported(run_dir: string, path: string, by: string | undefined): Promise<Label[]> {
  const text = await textOf(path);
  await using run = await openRun(run_dir);
  const [row] = await run.query("SELECT run_id FROM runs");
  const labels = labelsIn(text, path, String(row?.run_id ?? ""));
  return labels.map((label) =>
    by === undefined || label.labelled_by !== undefined ? label : { ...label, labelled_by: by }
  );
}

async function listed(run_dir: string): Promise<Label[]> {
  await using run = await openRun(run_dir);
  return (await run.query("SELECT * FROM labels ORDER BY seq")).map(asLabel);
}
