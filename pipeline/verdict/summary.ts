/**
 * What one policy did, and how two of them compare, from evaluation rollouts. Invalid rollouts are counted with their
 * cause and left out of every figure. Pure.
 * @module
 */
import type { Interval } from "../events.ts";
import { bootstrapMean } from "../stats/bootstrap.ts";
import { clusteredPairedDifference, clusteredProportion } from "../stats/proportion.ts";
import type { Comparison, EvaluatedRollout, Metric, PolicySummary, Sampling } from "./verdict_types.ts";

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
  turns: (e: EvaluatedRollout) => e.turns,
  tool_calls: (e: EvaluatedRollout) => e.tool_calls,
  invalid_calls: (e: EvaluatedRollout) => e.invalid_calls,
  tokens: (e: EvaluatedRollout) => e.prompt_tokens + e.output_tokens,
  seconds: (e: EvaluatedRollout) => e.seconds,
} satisfies Partial<Record<Metric, (e: EvaluatedRollout) => number>>;

/**
 * Summarises the rollouts of one policy.
 * @param sampling The verdict's own: everything but `greedy_success` and `sampled_success` is measured under it.
 * @param seed Of the bootstrap.
 */
export function summarise(rollouts: readonly EvaluatedRollout[], sampling: Sampling, seed: number): PolicySummary {
  const counted = rollouts.filter((e) => e.invalid === null);
  const main = counted.filter((e) => e.sampling === sampling);
  const mean = (of: (e: EvaluatedRollout) => number) => main.length > 0 ? sum(main.map(of)) / main.length : 0;
  const calls = sum(main.map((e) => e.call_turns));
  const troubled = main.filter((e) => e.failed_calls + e.invalid_calls > 0);
  const rewarded = main.filter((e) => e.reward !== null);
  return {
    success: success(main),
    ...bySampling(counted),
    turns: mean(MEASURES.turns),
    tool_calls: mean(MEASURES.tool_calls),
    invalid_calls: mean(MEASURES.invalid_calls),
    tokens: mean(MEASURES.tokens),
    output_tokens: mean((e) => e.output_tokens),
    seconds: mean(MEASURES.seconds),
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

/** Compares two policies in every metric, pair by pair: same scenario, same try, same sampling, both counted. */
export function compare(
  policy: string,
  against: string,
  rollouts: readonly EvaluatedRollout[],
  sampling: Sampling,
  seed: number,
): Comparison[] {
  const pairs = pair(rollouts.filter((e) => e.policy === policy), rollouts.filter((e) => e.policy === against));
  const of = (wanted: Sampling) => pairs.filter(([mine]) => mine.sampling === wanted);
  const result = (metric: Metric, interval: Interval): Comparison => ({ policy, against, metric, ...interval });
  const main = of(sampling);
  const comparisons = [result("success", successDifference(main))];
  for (const each of ["greedy", "sampled"] as const) {
    const some = of(each);
    if (some.length > 0) comparisons.push(result(`${each}_success`, successDifference(some)));
  }
  for (const [metric, measure] of Object.entries(MEASURES)) {
    const differences = clusters(main, ([mine]) => mine.scenario_id)
      .map((tries) => tries.map(([mine, theirs]) => measure(mine) - measure(theirs)));
    comparisons.push(result(metric as keyof typeof MEASURES, bootstrapMean(differences, { seed })));
  }
  return comparisons;
}

/** Success of rollouts, with tries of one scenario as one cluster. */
export function success(rollouts: readonly Pick<EvaluatedRollout, "scenario_id" | "success">[]): Interval {
  return clusteredProportion(byScenario(rollouts).map((tries) => tries.map((e) => e.success)));
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

function pair(
  mine: readonly EvaluatedRollout[],
  theirs: readonly EvaluatedRollout[],
): [EvaluatedRollout, EvaluatedRollout][] {
  const key = (e: EvaluatedRollout) => JSON.stringify([e.scenario_id, e.sampling, e.try]);
  const others = new Map(theirs.filter((e) => e.invalid === null).map((e) => [key(e), e]));
  return mine.filter((e) => e.invalid === null).flatMap((e) => {
    const other = others.get(key(e));
    return other ? [[e, other] as [EvaluatedRollout, EvaluatedRollout]] : [];
  });
}

function successDifference(pairs: readonly [EvaluatedRollout, EvaluatedRollout][]): Interval {
  return clusteredPairedDifference(
    clusters(pairs, ([mine]) => mine.scenario_id)
      .map((tries) => tries.map(([mine, theirs]) => ({ policy: mine.success, against: theirs.success }))),
  );
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
