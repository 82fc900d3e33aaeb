/**
 * What a verdict comes to, as one word. A gain is claimed only where the interval of the paired difference lies above
 * zero, and nothing is claimed from so few scenarios that no result of theirs could be more than chance.
 * @module
 */
import { neededPairs, POWER } from "../stats/needed_pairs.ts";
import { clusters, type RolloutPair } from "./summary.ts";
import type { Findings, NeededScenarios, PairedInterval, VerdictOutcome } from "./verdict_types.ts";

/** From this success on, a prompt that training does not measurably beat is called enough. */
export const ENOUGH = 0.9;

/** With fewer scenarios not even a win in each is significant by the sign test: 2 × 0.5⁵ > 0.05. */
export const MIN_SCENARIOS = 6;

/** Beyond so many times the scenarios that there are, a gain is called not measurable rather than not yet measured. */
const FEASIBLE = 10;

/** Whether the interval of a difference lies on one side of zero and comes from enough scenarios for a claim. */
export function significant({ low, high, scenarios }: PairedInterval): boolean {
  return scenarios >= MIN_SCENARIOS && (low > 0 || high < 0);
}

/**
 * The number of scenarios that would show the observed difference; null where these show one, or where there is none.
 * @param pairs Of the difference.
 */
export function neededScenarios(pairs: readonly RolloutPair[], difference: PairedInterval): NeededScenarios | null {
  if (pairs.length === 0 || difference.mean === 0 || significant(difference)) return null;
  // A scenario's attempts count once, by their mean: the square of that is whether the pair is discordant, of one attempt.
  const means = clusters(pairs, ([mine]) => mine.scenario_id).map((tries) => mean(tries.map(gain)));
  const discordant = mean(pairs.map((pair) => Math.abs(gain(pair))));
  const scenarios = Math.max(MIN_SCENARIOS, neededPairs(mean(means.map((x) => x * x)), mean(means)));
  return Number.isFinite(scenarios) ? { scenarios, discordant, power: POWER } : null;
}

function gain([mine, theirs]: RolloutPair): number {
  return Number(mine.success) - Number(theirs.success);
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** What the findings come to. */
export function outcomeOf(findings: Omit<Findings, "outcome">): VerdictOutcome {
  const { policies, difference, needed_scenarios } = findings;
  const names = Object.keys(policies);
  if (names.every((name) => policies[name]!.success.n === 0)) return "not_measured";
  if (!difference) {
    const { mean, low } = policies[names[0]!]!.success;
    // A handful of scenarios is no ground for advice.
    return mean >= ENOUGH && low >= 0.5 ? "prompting_is_enough" : "not_compared";
  }
  if (difference.n === 0) return "not_compared";
  if (difference.scenarios < MIN_SCENARIOS) return "more_scenarios_needed";
  if (enoughPrompt(findings)) return "prompting_is_enough";
  if (difference.low > 0) return "improved";
  if (difference.high < 0) return "worse";
  const feasible = needed_scenarios && needed_scenarios.scenarios <= FEASIBLE * difference.scenarios;
  return feasible && difference.mean > 0 ? "more_scenarios_needed" : "no_measurable_gain";
}

/**
 * The policy that makes training needless: one of prompts only that the trained one does not measurably beat, and that
 * solves nearly everything or is measurably better than base.
 */
export function enoughPrompt({ policies, comparisons, difference }: Omit<Findings, "outcome">): string | undefined {
  const { policy } = difference!;
  const of = (mine: string, theirs: string) =>
    comparisons.find((c) => c.metric === "success" && c.policy === mine && c.against === theirs);
  const untrained = [...Object.keys(policies).filter((name) => name.startsWith("prompt")), "base"]
    .filter((name) => policies[name]);
  return untrained.find((name) => {
    const beyond = policy === name ? undefined : of(policy, name);
    if (policy !== name && (!beyond || beyond.n === 0 || beyond.low > 0)) return false;
    if (policies[name]!.success.mean >= ENOUGH) return true;
    const gained = of(name, "base");
    return policy !== name && gained !== undefined && significant(gained) && gained.low > 0;
  });
}
