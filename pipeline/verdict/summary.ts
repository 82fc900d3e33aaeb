/**
 * What one policy did, and how two of them compare, from evaluation rollouts. Invalid rollouts are counted with their
 * cause and left out of every figure. Pure.
 * @module
 */
import type { Interval } from "../events.ts";
import { bootstrapMean, quantile } from "../stats/bootstrap.ts";
import { meanAtK, passAtK, passHatK } from "../stats/pass_at_k.ts";
import { clusteredPairedDifference, clusteredProportion } from "../stats/proportion.ts";
import {
  type Comparison,
  type EvaluatedRollout,
  MEAN_METRICS,
  type MeanMetric,
  type Metric,
  type PairedInterval,
  type PolicySummary,
  type Sampling,
  type TokenPrice,
} from "./verdict_types.ts";

/** Words for the ends of failed rollouts. */
const CAUSES: Record<string, string> = {
  answered: "finished with a wrong result",
  completed: "finished with a wrong result",
  max_turns: "ran out of turns",
  length: "reply cut off at max_tokens",
  context_full: "context was full",
  invalid_calls: "too many invalid calls",
  repeated_calls: "kept repeating a call",
};

/** Numbers of one rollout, by metric. */
const MEASURES = {
  turns: (e) => e.turns,
  tool_calls: (e) => e.tool_calls,
  invalid_calls: (e) => e.invalid_calls,
  hallucinated_tools: (e) => e.hallucinated_tools,
  tokens: (e) => e.prompt_tokens + e.output_tokens,
  prompt_tokens: (e) => e.prompt_tokens,
  output_tokens: (e) => e.output_tokens,
} satisfies Record<MeanMetric, (e: EvaluatedRollout) => number>;

/** Those of them that are compared pair by pair. */
const COMPARED = ["turns", "tool_calls", "invalid_calls", "tokens"] as const;

/** Ends by which an agent ends its rollout itself. */
const COMPLETED = new Set(["answered", "completed"]);

/**
 * Summarises the rollouts of one policy.
 * @param sampling The verdict's own: everything but `greedy_success` and `sampled_success` is measured under it.
 * @param seed Of the bootstrap.
 * @param price Of the policy's tokens, where declared.
 */
export function summarise(
  rollouts: readonly EvaluatedRollout[],
  sampling: Sampling,
  seed: number,
  price?: TokenPrice,
): PolicySummary {
  const counted = rollouts.filter((e) => e.invalid === null);
  const main = counted.filter((e) => e.sampling === sampling);
  const scenarios = byScenario(main);
  const mean = (of: (e: EvaluatedRollout) => number) => main.length > 0 ? sum(main.map(of)) / main.length : null;
  const calls = sum(main.map((e) => e.call_turns));
  const troubled = main.filter((e) => e.failed_calls + e.invalid_calls > 0);
  const rewarded = main.filter((e) => e.reward !== null);
  const means = Object.fromEntries(
    MEAN_METRICS.map((name) => [name, bootstrapMean(scenarios.map((tries) => tries.map(MEASURES[name])), { seed })]),
  ) as Record<MeanMetric, Interval>;
  return {
    success: success(main),
    ...bySampling(counted),
    ...atAttempts(scenarios, seed),
    completion: share(scenarios, (e) => COMPLETED.has(e.end)),
    means,
    ...Object.fromEntries(MEAN_METRICS.map((name) => [name, mean(MEASURES[name])])) as Record<MeanMetric, number>,
    seconds: mean((e) => e.seconds),
    latency: latency(main),
    usd: price ? mean((e) => dollars(e, price)) : null,
    reward: bootstrapMean(byScenario(rewarded).map((tries) => tries.map((e) => e.reward!)), { seed }),
    invalid_call_rate: calls > 0 ? sum(main.map((e) => e.invalid_calls)) / calls : null,
    error_recovery: troubled.length > 0 ? success(troubled) : null,
    shortened: mean((e) => e.shortened_turns > 0 ? 1 : 0),
    rollouts: {
      total: rollouts.length,
      counted: counted.length,
      excluded: tally(rollouts.flatMap((e) => e.invalid ?? [])),
    },
    failures: tally(main.filter((e) => !e.success).map((e) => CAUSES[e.end] ?? e.end)),
  };
}

function atAttempts(
  scenarios: readonly EvaluatedRollout[][],
  seed: number,
): Pick<PolicySummary, "pass_at_k" | "pass_hat_k"> {
  const attempts = scenarios.map((all) => ({ tries: all.length, successes: all.filter((e) => e.success).length }));
  const most = attempts.reduce((most, { tries }) => Math.max(most, tries), 0);
  const of = (estimate: typeof passAtK) =>
    Array.from({ length: most }, (_, i) => ({ k: i + 1, ...meanAtK(attempts, i + 1, estimate, seed) }));
  return { pass_at_k: of(passAtK), pass_hat_k: of(passHatK) };
}

function latency(rollouts: readonly EvaluatedRollout[]): PolicySummary["latency"] {
  if (rollouts.length === 0) return null;
  const sorted = Float64Array.from(rollouts, (e) => e.seconds).sort();
  return { p50: quantile(sorted, 0.5), p90: quantile(sorted, 0.9) };
}

function dollars({ prompt_tokens, output_tokens }: EvaluatedRollout, price: TokenPrice): number {
  return (prompt_tokens * price.input_per_million + output_tokens * price.output_per_million) / 1e6;
}

/** Compares two policies in every metric, pair by pair: same scenario, same try, same sampling, both counted. */
export function compare(
  policy: string,
  against: string,
  rollouts: readonly EvaluatedRollout[],
  sampling: Sampling,
  seed: number,
): Comparison[] {
  const pairs = pairsOf(policy, against, rollouts);
  const of = (wanted: Sampling) => pairs.filter(([mine]) => mine.sampling === wanted);
  const result = (metric: Metric, interval: PairedInterval): Comparison => ({ policy, against, metric, ...interval });
  const main = of(sampling);
  const comparisons = [result("success", successDifference(main))];
  for (const each of ["greedy", "sampled"] as const) {
    const some = of(each);
    if (some.length > 0) comparisons.push(result(`${each}_success`, successDifference(some)));
  }
  const scenarios = clusters(main, ([mine]) => mine.scenario_id);
  for (const metric of COMPARED) {
    const measure = MEASURES[metric];
    const differences = scenarios.map((tries) => tries.map(([mine, theirs]) => measure(mine) - measure(theirs)));
    comparisons.push(result(metric, { ...bootstrapMean(differences, { seed }), scenarios: scenarios.length }));
  }
  return comparisons;
}

/** Success of rollouts, with tries of one scenario as one cluster. */
export function success(rollouts: readonly Pick<EvaluatedRollout, "scenario_id" | "success">[]): Interval {
  return share(byScenario(rollouts), (e) => e.success);
}

/** Share of the rollouts that `holds` for; one cluster for each scenario. */
function share<R>(scenarios: readonly R[][], holds: (rollout: R) => boolean): Interval {
  return clusteredProportion(scenarios.map((tries) => tries.map(holds)));
}

/** Groups items by key, in order of first appearance. */
export function clusters<T>(items: readonly T[], key: (item: T) => string): T[][] {
  return [...Map.groupBy(items, key).values()];
}

/** Counts of each text, most frequent first, equal ones in alphabetical order. */
export function tally(texts: readonly string[]): Record<string, number> {
  const counts = [...Map.groupBy(texts, (text) => text)].map(([text, all]) => [text, all.length] as const);
  return Object.fromEntries(counts.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)));
}

function bySampling(counted: readonly EvaluatedRollout[]): Pick<PolicySummary, "greedy_success" | "sampled_success"> {
  const greedy = counted.filter((e) => e.sampling === "greedy");
  const sampled = counted.filter((e) => e.sampling === "sampled");
  return {
    ...(greedy.length > 0 && { greedy_success: success(greedy) }),
    ...(sampled.length > 0 && { sampled_success: success(sampled) }),
  };
}

function byScenario<R extends Pick<EvaluatedRollout, "scenario_id">>(rollouts: readonly R[]): R[][] {
  return clusters(rollouts, (e) => e.scenario_id);
}

/** An attempt of one policy and the same attempt of another: scenario, sampling and try are equal, and both count. */
export type RolloutPair = readonly [EvaluatedRollout, EvaluatedRollout];

/** The pairs of two policies. */
export function pairsOf(policy: string, against: string, rollouts: readonly EvaluatedRollout[]): RolloutPair[] {
  const key = (e: EvaluatedRollout) => `${e.sampling} ${e.try} ${e.scenario_id}`;
  const counted = rollouts.filter((e) => e.invalid === null);
  const others = new Map(counted.filter((e) => e.policy === against).map((e) => [key(e), e]));
  return counted.filter((e) => e.policy === policy).flatMap((e) => {
    const other = others.get(key(e));
    return other ? [[e, other] as const] : [];
  });
}

/**
 * The difference in success over pairs.
 * @param comparisons How many such intervals are to hold together.
 */
export function successDifference(pairs: readonly RolloutPair[], comparisons = 1): PairedInterval {
  const scenarios = clusters(pairs, ([mine]) => mine.scenario_id);
  const successes = scenarios.map((tries) =>
    tries.map(([mine, theirs]) => ({ policy: mine.success, against: theirs.success }))
  );
  return { ...clusteredPairedDifference(successes, comparisons), scenarios: scenarios.length };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
