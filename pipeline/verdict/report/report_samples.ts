/**
 * The scenarios whose trajectories a report shows side by side.
 * @module
 */
import type { Shortened } from "../../events.ts";
import { literal } from "../evaluated_rollouts.ts";
import type { EvaluatedRollout, Queryable, Verdict } from "../verdict_types.ts";
import type { Sample, SampleEvent, SampleKind, SampleRun } from "./report_types.ts";

/** Scenarios that are shown. */
const SAMPLES = 12;

/** In this order, in turn. */
const KINDS: SampleKind[] = ["gained", "lost", "both failed", "both solved", "other"];

/** The samples: the first try of each policy under the verdict's sampling. */
export async function gatherSamples(
  store: Queryable,
  all: readonly EvaluatedRollout[],
  verdict: Verdict,
): Promise<Sample[]> {
  const rollouts = all.filter((e) => e.try === 0 && e.sampling === verdict.sampling && verdict.policies[e.policy]);
  const chosen = chooseSamples(rollouts, verdict, await firstTags(store));
  const shown = chosen.map(([id]) =>
    Object.keys(verdict.policies).flatMap((policy) =>
      rollouts.find((one) => one.scenario_id === id && one.policy === policy) ?? []
    )
  );
  const scenarios = await scenarioFacts(store, chosen.map(([id]) => id));
  const records = await recordsOf(store, shown.flat().map((e) => e.rollout_id));
  return chosen.map(([scenario_id, kind], i) => {
    const { task = "", tags = [] } = scenarios.get(scenario_id) ?? {};
    return { scenario_id, kind, task, tags, runs: shown[i]!.map((e) => sampleRun(e, records)) };
  });
}

/** Kinds in turn, in each of them the scenarios' first tags in turn, then in order of id. */
function chooseSamples(
  rollouts: readonly EvaluatedRollout[],
  verdict: Verdict,
  tags: ReadonlyMap<string, string>,
): [string, SampleKind][] {
  const names = Object.keys(verdict.policies);
  const { policy, against } = verdict.difference ?? { policy: names.at(-1), against: names[0] };
  const kinds = new Map<SampleKind, string[]>(KINDS.map((kind) => [kind, []]));
  for (const [id, tries] of Map.groupBy(rollouts, (e) => e.scenario_id)) {
    const [after, before] = [policy, against].map((name) => tries.find((e) => e.policy === name && e.invalid === null));
    kinds.get(kindOf(before?.success, after?.success))!.push(id);
  }
  const queues = [...kinds].map(([kind, ids]) => {
    const tagged = [...Map.groupBy(ids.sort(), (id) => tags.get(id) ?? "")].sort(([a], [b]) => (a < b ? -1 : 1));
    return inTurn(tagged.map(([, mine]) => mine)).map((id): [string, SampleKind] => [id, kind]);
  });
  return inTurn(queues).slice(0, SAMPLES).sort(([, a], [, b]) => KINDS.indexOf(a) - KINDS.indexOf(b));
}

/** The first of each list, then the second of each. */
function inTurn<T>(lists: readonly T[][]): T[] {
  const longest = lists.reduce((most, { length }) => Math.max(most, length), 0);
  return Array.from({ length: longest }, (_, i) => lists.flatMap((list) => list.slice(i, i + 1))).flat();
}

async function firstTags(store: Queryable): Promise<Map<string, string>> {
  const rows = await store.query("SELECT scenario_id, tags[1] AS tag FROM scenarios WHERE len(tags) > 0");
  return new Map(rows.map(({ scenario_id, tag }) => [String(scenario_id), String(tag)]));
}

function kindOf(before: boolean | undefined, after: boolean | undefined): SampleKind {
  if (before === undefined || after === undefined) return "other";
  if (before === after) return after ? "both solved" : "both failed";
  return after ? "gained" : "lost";
}

async function scenarioFacts(store: Queryable, ids: string[]): Promise<Map<string, { task: string; tags: string[] }>> {
  if (ids.length === 0) return new Map();
  const rows = await store.query(
    `SELECT scenario_id, task, to_json(tags) AS tags FROM scenarios WHERE scenario_id IN (${
      ids.map(literal).join(", ")
    })`,
  );
  return new Map(rows.map((row) => [
    String(row.scenario_id),
    { task: String(row.task), tags: JSON.parse(String(row.tags ?? "[]")) as string[] },
  ]));
}

type Rows = Record<string, unknown>[];

interface Records {
  turns: Rows;
  calls: Rows;
  judgements: Rows;
}

async function recordsOf(store: Queryable, rollout_ids: string[]): Promise<Records> {
  if (rollout_ids.length === 0) return { turns: [], calls: [], judgements: [] };
  const mine = `rollout_id IN (${rollout_ids.map(literal).join(", ")})`;
  return {
    turns: await store.query(
      `SELECT * EXCLUDE (prompt_suffix, output_ids, logprobs) FROM turns WHERE ${mine} ORDER BY turn`,
    ),
    calls: await store.query(
      `SELECT rollout_id, turn, tool, arguments, outcome, text FROM tool_calls WHERE ${mine} ORDER BY turn, index`,
    ),
    judgements: await store.query(
      `SELECT * FROM judgements WHERE ${mine} ORDER BY judge`,
    ),
  };
}

function sampleRun(e: EvaluatedRollout, records: Records): SampleRun {
  const own = (rows: Rows) => rows.filter((row) => row.rollout_id === e.rollout_id);
  const calls = own(records.calls);
  const events = own(records.turns).flatMap((turn): SampleEvent[] => [
    {
      kind: "model",
      text: String(turn.text ?? ""),
      invalid: turn.invalid_call === null ? null : String(turn.invalid_call),
      ...(typeof turn.shortened === "string" && { shortened: (JSON.parse(turn.shortened) as Shortened[]).length }),
    },
    ...calls.filter((call) => Number(call.turn) === Number(turn.turn)).map((call): SampleEvent => ({
      kind: "tool",
      call: `${call.tool} ${typeof call.arguments === "string" ? call.arguments : JSON.stringify(call.arguments)}`,
      outcome: String(call.outcome),
      text: String(call.text ?? ""),
    })),
  ]);
  const { rollout_id, policy, success, invalid, end, reward } = e;
  const reasons = own(records.judgements).map((j) => `${j.judge}: ${judgementText(j)}`);
  return { rollout_id, policy, success, invalid, end, reward, reasons, events };
}

/** Records of earlier versions have no column for abstaining. */
function judgementText({ score, reason, invalid, abstain = null }: Rows[number]): string {
  if (invalid !== null) return String(invalid);
  return abstain === null ? `${Number(score)}, ${reason}` : `abstains (${abstain})`;
}
