/**
 * Agreement of two raters who each say yes or no of the same rollouts: the share on which they agree, and Cohen's kappa,
 * which takes off what they would agree on by chance.
 * @module
 */
import type { Interval } from "../events.ts";
import { clusteredProportion } from "./proportion.ts";

/** What two raters say of one rollout. */
export type Ratings = readonly [boolean, boolean];

/** See the module. */
export interface Agreement {
  /** Share of the rollouts on which both say the same. */
  accuracy: Interval;
  /** From -1 to 1: 0 is chance, 1 is always; null if chance alone makes them always agree (both say the same of all). */
  kappa: { value: number; low: number; high: number } | null;
}

/**
 * Agreement over rollouts.
 *
 * Source: J. Cohen, Educational and Psychological Measurement 20 (1960) 37–46. The interval of kappa is that of the
 * observed agreement, with the agreement by chance held at its estimate: unlike the usual standard error, it does not
 * shrink to a point where the raters always agree.
 * @param clusters The ratings of each scenario's rollouts; the tries of one scenario are not independent.
 */
export function agreement(clusters: readonly (readonly Ratings[])[]): Agreement {
  const accuracy = clusteredProportion(clusters.map((ratings) => ratings.map(([a, b]) => a === b)));
  const all = clusters.flat();
  const share = (rater: 0 | 1) => all.filter((ratings) => ratings[rater]).length / Math.max(1, all.length);
  const [first, second] = [share(0), share(1)];
  const chance = first * second + (1 - first) * (1 - second);
  const over = (observed: number) => (observed - chance) / (1 - chance);
  if (all.length === 0 || 1 - chance < 1e-12) return { accuracy, kappa: null };
  const { mean, low, high } = accuracy;
  return { accuracy, kappa: { value: over(mean), low: Math.max(-1, over(low)), high: over(high) } };
}
