/**
 * Gathers what a report shows from a run's store and folder. Failures, confusions, the learning signal and costs are the
 * rows of ready-made queries (`hone query --list`). Works on a live run as well.
 * @module
 */
import { wilson } from "../../stats/proportion.ts";
import { wallClock } from "../../store/recorded.ts";
import { evaluatedRollouts } from "../evaluated_rollouts.ts";
import { confusion, failureClusters } from "../queries/failure_queries.ts";
import { READY_QUERIES } from "../queries/ready_queries.ts";
import { INVALID, SIGNAL_PER_STEP } from "../queries/signal_queries.ts";
import { success } from "../summary.ts";
import type { Queryable, Verdict } from "../verdict_types.ts";
import type { Confusion, Cost, CurvePoint, FailureCluster, Report, RunFacts, ValidationPoint } from "./report_types.ts";
import { gatherSamples } from "./report_samples.ts";
import { gatherSetup, maxStaleness, runSettings } from "./setup.ts";
import { type InvalidRow, signalHealth, type SignalStep } from "./signal_health.ts";

type Row = Record<string, unknown>;

/**
 * Gathers a report.
 * @param run_dir Holds the run's own pipeline.yaml.
 * @param status Of the run where the store has no closing record: `running`, `interrupted`, or "" to say nothing.
 */
export async function gatherReport(
  store: Queryable,
  verdict: Verdict,
  { run_dir, status }: { run_dir: string; status: string },
): Promise<Report> {
  const settings = await runSettings(run_dir);
  const rollouts = await evaluatedRollouts(store, verdict.split);
  const signal = await store.query(SIGNAL_PER_STEP) as unknown as SignalStep[];
  const tuned = verdict.policies.tuned;
  return {
    run: await runFacts(store, status),
    setup: await gatherSetup(store, settings),
    verdict,
    curve: await learningCurve(store, signal),
    validation: await validationPoints(store, verdict),
    health: signalHealth({
      steps: signal.map((row) => numbers(row) as SignalStep),
      invalid: (await store.query(INVALID)).map(invalidRow),
      unseen: tuned?.sampled_success ?? null,
      max_staleness: maxStaleness(settings),
    }),
    failures: await failures(store, verdict),
    confusion: await confusions(store, verdict),
    samples: await gatherSamples(store, rollouts, verdict),
    costs: (await store.query(READY_QUERIES.costs!.sql)).map(cost),
  };
}

async function runFacts(store: Queryable, status: string): Promise<RunFacts> {
  const [row = {}] = await store.query("SELECT * FROM runs");
  const [times = {}] = await store.query(
    `SELECT epoch_ms(arg_min(recorded_at, seq)) AS first, (${wallClock()}) AS seconds FROM events`,
  );
  const starts = await store.query(READY_QUERIES.starts!.sql);
  return {
    id: String(row.run_id ?? ""),
    name: String(row.name ?? ""),
    seed: Number(row.seed ?? 0),
    hone_version: String(row.hone_version ?? ""),
    status: typeof row.status === "string" && row.status !== "running" ? row.status : status,
    started_at: numeric(times.first),
    minutes: numeric(times.first) === null ? null : Number(times.seconds) / 60,
    interruptions: starts.slice(0, -1).map(({ status: how }) => typeof how === "string" ? how : "killed"),
  };
}

/** Steps with what the trainer said; RL steps with the rollouts that fed them. */
async function learningCurve(store: Queryable, signal: readonly Row[]): Promise<CurvePoint[]> {
  const rows = await store.query("SELECT kind, step, loss, seconds FROM train_steps ORDER BY seq");
  const fed = new Map(signal.map((row) => [Number(row.step), row]));
  return rows.map((row): CurvePoint => {
    const kind = row.kind === "rl" ? "rl" : "supervised";
    const from = kind === "rl" ? numbers(fed.get(Number(row.step)) ?? {}) : {};
    const judged = (from.rollouts ?? 0) - (from.invalid ?? 0);
    const { reward = null, reward_margin } = from;
    const margin = reward_margin ?? 0;
    return {
      step: Number(row.step),
      kind,
      loss: numeric(row.loss),
      reward: reward === null ? null : { mean: reward, low: reward - margin, high: reward + margin, n: judged },
      success: judged > 0 ? wilson(from.successes ?? 0, judged) : null,
      invalid_calls: from.call_turns ? (from.invalid_calls ?? 0) / from.call_turns : null,
      rollouts: judged,
      seconds: numeric(row.seconds),
    };
  });
}

/** The policies between the steps of RL, and others where validation is the verdict's own split. */
async function validationPoints(store: Queryable, { split, sampling }: Verdict): Promise<ValidationPoint[]> {
  const which = split === "validation" ? "" : "AND policy LIKE 'step-%'";
  const rollouts = await store.query(
    `SELECT DISTINCT policy, policy_version FROM rollouts
     WHERE purpose = 'evaluation' AND split = 'validation' ${which} ORDER BY ALL`,
  );
  if (rollouts.length === 0) return [];
  const all = (await evaluatedRollouts(store, "validation")).filter((e) => e.sampling === sampling);
  return rollouts.map((row) => ({
    policy: String(row.policy),
    version: Number(row.policy_version),
    success: success(all.filter((e) => e.policy === row.policy && e.invalid === null)),
  })).sort((a, b) => a.version - b.version);
}

/** Clusters of each policy, its most frequent first, under the verdict's sampling. */
async function failures(store: Queryable, { split, sampling, policies }: Verdict): Promise<FailureCluster[]> {
  const rows = (await store.query(failureClusters(split))).filter((row) => row.sampling === sampling);
  return Object.keys(policies).flatMap((policy) =>
    rows.filter((row) => row.policy === policy).map((row) => ({
      policy,
      outcome: String(row.outcome),
      pattern: String(row.pattern),
      rollouts: Number(row.rollouts),
      scenarios: Number(row.scenarios),
      tags: JSON.parse(String(row.tags ?? "[]")) as string[],
      example_scenario: String(row.example_scenario),
      example: String(row.example),
    }))
  );
}

/** Most frequent first, after them those without a call. */
async function confusions(store: Queryable, { split, sampling, policies }: Verdict): Promise<Confusion[]> {
  const rows = (await store.query(confusion(split)))
    .filter((row) => row.sampling === sampling && policies[String(row.policy)]);
  const total = (c: Confusion) => Object.values(c.policies).reduce((a, b) => a + b, 0);
  return [...Map.groupBy(rows, ({ expected, taken }) => JSON.stringify([expected, taken]))].map(([, mine]) => ({
    expected: String(mine[0]!.expected),
    taken: typeof mine[0]!.taken === "string" ? mine[0]!.taken : null,
    policies: Object.fromEntries(mine.map((row) => [String(row.policy), Number(row.rollouts)])),
    example_scenario: String(mine.at(-1)!.example_scenario),
  })).sort((a, b) => Number(a.taken === null) - Number(b.taken === null) || total(b) - total(a));
}

function cost(row: Row): Cost {
  return {
    spent_on: String(row.spent_on),
    times: Number(row.times),
    seconds: Number(row.seconds ?? 0),
    prompt_tokens: numeric(row.prompt_tokens),
    output_tokens: numeric(row.output_tokens),
    usd: numeric(row.usd),
  };
}

function invalidRow(row: Row): InvalidRow {
  return {
    what: row.what === "judge" ? "judge" : "reward",
    stage: typeof row.stage === "string" ? row.stage : null,
    purpose: String(row.purpose),
    rollouts: Number(row.rollouts),
    of_rollouts: Number(row.of_rollouts),
    example: String(row.example),
  };
}

function numbers(row: Row): Record<string, number | null> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, numeric(value)]));
}

function numeric(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
