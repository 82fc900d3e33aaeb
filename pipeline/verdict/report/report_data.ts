/**
 * Gathers what a report shows from a run's store: the run, the learning curve, tags and sample trajectories.
 * Works on a live run as well.
 * @module
 */
import type { Interval, Shortened } from "../../events.ts";
import { evaluatedRollouts, literal, TURN_COUNTS } from "../evaluated_rollouts.ts";
import type {
  CurvePoint,
  Report,
  RunFacts,
  Sample,
  SampleEvent,
  SampleRun,
  TagRow,
  ValidationPoint,
} from "./report_types.ts";
import { success } from "../summary.ts";
import type { EvaluatedRollout, Queryable, Verdict } from "../verdict_types.ts";

/** Scenarios whose trajectories a report shows. */
const SAMPLES = 12;

interface ScenarioFacts {
  task: string;
  tags: string[];
}

/**
 * Gathers a report.
 * @param status Of the run where the store has no closing record: `running`, `interrupted`, or "" to say nothing.
 */
export async function gatherReport(store: Queryable, verdict: Verdict, status: string): Promise<Report> {
  const rollouts = (await evaluatedRollouts(store, verdict.split))
    .filter((e) => e.sampling === verdict.sampling && verdict.policies[e.policy]);
  const scenarios = await scenarioFacts(store);
  return {
    run: await runFacts(store, status),
    verdict,
    curve: await learningCurve(store),
    validation: await validationPoints(store, verdict),
    tags: tagRows(rollouts, scenarios, Object.keys(verdict.policies)),
    samples: await samples(store, chooseSamples(rollouts, verdict), rollouts, scenarios, verdict),
  };
}

async function runFacts(store: Queryable, status: string): Promise<RunFacts> {
  const [row = {}] = await store.query("SELECT * FROM runs");
  const [times = {}] = await store.query(
    `SELECT epoch_ms(arg_min(recorded_at, seq)) AS first, epoch_ms(arg_max(recorded_at, seq)) AS last FROM events`,
  );
  return {
    id: String(row.run_id ?? ""),
    name: String(row.name ?? ""),
    seed: Number(row.seed ?? 0),
    hone_version: String(row.hone_version ?? ""),
    status: typeof row.status === "string" && row.status !== "running" ? row.status : status,
    started_at: numeric(times.first),
    ended_at: numeric(times.last),
  };
}

async function scenarioFacts(store: Queryable): Promise<Map<string, ScenarioFacts>> {
  const rows = await store.query("SELECT scenario_id, task, tags FROM scenarios");
  return new Map(rows.map((row) => [
    String(row.scenario_id),
    { task: String(row.task), tags: list(row.tags).map(String) },
  ]));
}

/** Steps with what the trainer said; RL steps with the rollouts that fed them. */
async function learningCurve(store: Queryable): Promise<CurvePoint[]> {
  const rows = await store.query(`
    WITH fed AS (
      SELECT r.step, count(*) AS rollouts, avg(w.value) AS reward,
        avg(CASE WHEN w.success THEN 1 ELSE 0 END) AS success,
        sum(n.invalid_calls) / nullif(sum(n.call_turns), 0) AS invalid_calls
      FROM (FROM rollouts WHERE purpose = 'train' QUALIFY attempt = max(attempt) OVER (PARTITION BY group_id)) r
      JOIN rewards w USING (rollout_id) LEFT JOIN (${TURN_COUNTS}) n USING (rollout_id)
      WHERE w.invalid IS NULL
      GROUP BY r.step
    )
    SELECT s.kind, s.step, s.loss, s.seconds, f.rollouts, f.reward, f.success, f.invalid_calls
    FROM train_steps s LEFT JOIN fed f ON s.kind = 'rl' AND f.step = s.step
    ORDER BY s.seq`);
  return rows.map((row) => ({
    step: Number(row.step),
    kind: row.kind === "rl" ? "rl" : "supervised",
    loss: numeric(row.loss),
    reward: numeric(row.reward),
    success: numeric(row.success),
    invalid_calls: numeric(row.invalid_calls),
    rollouts: Number(row.rollouts ?? 0),
    seconds: numeric(row.seconds),
  }));
}

/** The policies between the steps of RL, and others where validation is the verdict's own split. */
async function validationPoints(store: Queryable, { split, sampling }: Verdict): Promise<ValidationPoint[]> {
  const which = split === "validation" ? "" : "AND policy LIKE 'step-%'";
  const rollouts = await store.query(
    `SELECT DISTINCT policy, policy_version FROM rollouts
     WHERE purpose = 'evaluation' AND split = 'validation' ${which} ORDER BY ALL`,
  );
  const all = (await evaluatedRollouts(store, "validation")).filter((e) => e.sampling === sampling);
  return rollouts.map((row) => ({
    policy: String(row.policy),
    version: Number(row.policy_version),
    success: success(all.filter((e) => e.policy === row.policy && e.invalid === null)),
  })).sort((a, b) => a.version - b.version);
}

function tagRows(rollouts: EvaluatedRollout[], scenarios: Map<string, ScenarioFacts>, policies: string[]): TagRow[] {
  const counted = rollouts.filter((e) => e.invalid === null);
  const tagsOf = (e: EvaluatedRollout) => scenarios.get(e.scenario_id)?.tags ?? [];
  return [...new Set(counted.flatMap(tagsOf))].sort().map((tag) => {
    const tagged = counted.filter((e) => tagsOf(e).includes(tag));
    const rows = policies.map((
      policy,
    ): [string, Interval] => [policy, success(tagged.filter((e) => e.policy === policy))]);
    return { tag, scenarios: new Set(tagged.map((e) => e.scenario_id)).size, policies: Object.fromEntries(rows) };
  });
}

/** Scenarios to show: kinds of outcome in turn (gained, lost, never solved, always solved…), each in order of id. */
function chooseSamples(rollouts: EvaluatedRollout[], { policies }: Verdict): string[] {
  const first = rollouts.filter((e) => e.try === 0);
  const kinds = new Map<string, string[]>();
  for (const [id, tries] of Map.groupBy(first, (e) => e.scenario_id)) {
    const pattern = Object.keys(policies).map((policy) => {
      const e = tries.find((t) => t.policy === policy);
      return !e || e.invalid !== null ? "-" : e.success ? "1" : "0";
    }).join("");
    kinds.set(pattern, [...kinds.get(pattern) ?? [], id]);
  }
  const queues = [...kinds].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, ids]) => ids.sort());
  const longest = Math.max(0, ...queues.map((ids) => ids.length));
  return Array.from({ length: longest }, (_, i) => queues.flatMap((ids) => ids[i] ?? [])).flat().slice(0, SAMPLES);
}

async function samples(
  store: Queryable,
  chosen: string[],
  rollouts: EvaluatedRollout[],
  scenarios: Map<string, ScenarioFacts>,
  { policies }: Verdict,
): Promise<Sample[]> {
  const shown = chosen.map((id) =>
    Object.keys(policies).flatMap((policy) =>
      rollouts.find((one) => one.scenario_id === id && one.policy === policy && one.try === 0) ?? []
    )
  );
  const records = await recordsOf(store, shown.flat().map((e) => e.rollout_id));
  return chosen.map((id, i) => {
    const { task = "", tags = [] } = scenarios.get(id) ?? {};
    return { scenario_id: id, task, tags, runs: shown[i]!.map((e) => sampleRun(e, records)) };
  });
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
  const { policy, success, invalid, end, reward } = e;
  const reasons = own(records.judgements).map((j) => `${j.judge}: ${judgementText(j)}`);
  return { policy, success, invalid, end, reward, reasons, events };
}

/** Records of earlier versions have no column for abstaining. */
function judgementText({ score, reason, invalid, abstain = null }: Rows[number]): string {
  if (invalid !== null) return String(invalid);
  return abstain === null ? `${Number(score)}, ${reason}` : `abstains (${abstain})`;
}

function list(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  return typeof value === "string" && value.startsWith("[") ? JSON.parse(value) as unknown[] : [];
}

function numeric(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
