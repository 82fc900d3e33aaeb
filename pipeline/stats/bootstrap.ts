/**
 * 95 % bootstrap intervals for means of anything that is not a proportion: turns, tokens, seconds, rewards.
 * Scenarios are resampled, not tries, so that several tries of one scenario do not pass for independent ones.
 * @module
 */
import type { Interval } from "../events.ts";
import { seededRng } from "./rng.ts";

/** Settings of the resampling; the same seed gives the same interval. */
export interface BootstrapOptions {
  seed?: number;
  resamples?: number;
}

/**
 * Percentile interval of the mean over all values.
 *
 * Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; clusters as in
 * A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
 * For paired comparisons give the differences.
 * @param clusters The values of each scenario; empty clusters do not count. `n` of the result is the number of values.
 */
export function bootstrapMean(clusters: readonly (readonly number[])[], options: BootstrapOptions = {}): Interval {
  const { seed = 0, resamples = 4000 } = options;
  const kept = clusters.filter((values) => values.length > 0);
  const sums = Float64Array.from(kept, (values) => values.reduce((sum, value) => sum + value, 0));
  const sizes = Float64Array.from(kept, (values) => values.length);
  const n = sizes.reduce((sum, size) => sum + size, 0);
  if (n === 0) return { mean: 0, low: 0, high: 0, n: 0 };
  const random = seededRng(seed);
  const means = new Float64Array(resamples);
  for (let r = 0; r < resamples; r++) {
    let sum = 0, size = 0;
    for (let i = 0; i < kept.length; i++) {
      const pick = Math.floor(random() * kept.length);
      sum += sums[pick]!;
      size += sizes[pick]!;
    }
    means[r] = sum / size;
  }
  means.sort();
  return { mean: sums.reduce((a, b) => a + b, 0) / n, low: quantile(means, 0.025), high: quantile(means, 0.975), n };
}

/** Linear interpolation between order statistics (type 7 of Hyndman and Fan 1996) of sorted values. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const at = (sorted.length - 1) * q;
  const below = Math.floor(at);
  const low = sorted[below] ?? NaN;
  return low + (at - below) * ((sorted[below + 1] ?? low) - low);
}
