/**
 * 95 % intervals for a proportion and for the difference of two paired proportions, which stay honest near 0 and 1,
 * with several tries of one scenario counted as one cluster. Pure functions; counts in, `Interval` out.
 * @module
 */
import type { Interval } from "../events.ts";
import { Z95 } from "./normal.ts";

/** One scenario tried by two policies: `policy` and `against` are the successes of the same try. */
export interface Pair {
  policy: boolean;
  against: boolean;
}

/**
 * Wilson's score interval for `successes` of `n`.
 *
 * Source: E. B. Wilson, JASA 22 (1927) 209–212; method 3 of R. G. Newcombe, Stat. Med. 17 (1998) 857–872.
 * @param successes May be fractional (an effective count).
 * @param n Number of trials; with 0 nothing is known and the interval is [0, 1].
 */
export function wilson(successes: number, n: number, z: number = Z95): Interval {
  if (n <= 0) return { mean: 0, low: 0, high: 1, n: 0 };
  const p = successes / n;
  const z2 = z * z;
  const centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const half = (z / (1 + z2 / n)) * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n));
  // At 0 and n of n the bound is exact, and rounding must not push it past the estimate.
  return {
    mean: p,
    low: successes === 0 ? 0 : Math.max(0, centre - half),
    high: successes === n ? 1 : centre + half,
    n,
  };
}

/**
 * Tango's score interval for the difference of two proportions over the same `n` units.
 *
 * Source: T. Tango, Stat. Med. 17 (1998) 891–908. The interval is the set of differences that the score statistic,
 * with the other cell at its restricted maximum likelihood, does not reject; it is found by bisection.
 * @param gained Units where only the policy succeeded (may be fractional, an effective count).
 * @param lost Units where only the other one succeeded.
 * @param n All units, concordant ones included; with 0 nothing is known and the interval is [-1, 1].
 */
export function pairedDifference(gained: number, lost: number, n: number, z: number = Z95): Interval {
  if (n <= 0) return { mean: 0, low: -1, high: 1, n: 0 };
  const mean = (gained - lost) / n;
  const statistic = (delta: number) => tangoStatistic(gained, lost, n, delta);
  return {
    mean,
    low: mean === -1 ? -1 : bisect((delta) => statistic(delta) > z, -1, mean),
    high: mean === 1 ? 1 : bisect((delta) => statistic(delta) >= -z, mean, 1),
    n,
  };
}

/** The score statistic of the hypothesis that the true difference is `delta`; falls as `delta` grows. */
function tangoStatistic(b: number, c: number, n: number, delta: number): number {
  const numerator = b - c - n * delta;
  const linear = -b - c + (2 * n - b + c) * delta;
  const constant = -c * delta * (1 - delta);
  const q = (Math.sqrt(Math.max(0, linear * linear - 8 * n * constant)) - linear) / (4 * n);
  const variance = n * (2 * Math.max(0, q) + delta * (1 - delta));
  if (variance > 1e-12) return numerator / Math.sqrt(variance);
  return numerator === 0 ? 0 : numerator * Infinity;
}

/** Where `holds` turns from true to false between `low` and `high`. */
function bisect(holds: (x: number) => boolean, low: number, high: number): number {
  let [a, b] = [low, high];
  for (let i = 0; i < 60; i++) {
    const middle = (a + b) / 2;
    if (holds(middle)) a = middle;
    else b = middle;
  }
  return (a + b) / 2;
}

/**
 * Wilson's interval where one scenario may have been tried several times: counts are divided by the design effect,
 * so that tries that always agree count once. With one try each it is `wilson`.
 *
 * Source: J. N. K. Rao and A. J. Scott, Biometrics 48 (1992) 577–585 (effective sample size by the design effect).
 * @param clusters The tries of each scenario. `n` of the result is the number of tries.
 */
export function clusteredProportion(clusters: readonly (readonly boolean[])[]): Interval {
  const sizes = clusters.map((tries) => tries.length);
  const sums = clusters.map((tries) => tries.filter(Boolean).length);
  const n = total(sizes), successes = total(sums);
  const p = n > 0 ? successes / n : 0;
  const effect = designEffect(sums, sizes, p * (1 - p));
  return { ...wilson(successes / effect, n / effect), n };
}

/**
 * Tango's interval where one scenario may have been tried several times, by the design effect of the differences.
 * With one try each it is `pairedDifference`.
 *
 * Source: as `clusteredProportion`; for pairs Z. Yang, X. Sun and J. W. Hardin, Stat. Med. 31 (2012) 3183–3198.
 * @param clusters The pairs of each scenario. `n` of the result is the number of pairs.
 */
export function clusteredPairedDifference(clusters: readonly (readonly Pair[])[], z: number = Z95): Interval {
  const pairs = clusters.flat();
  const n = pairs.length;
  const gained = pairs.filter((pair) => pair.policy && !pair.against).length;
  const lost = pairs.filter((pair) => !pair.policy && pair.against).length;
  const difference = n > 0 ? (gained - lost) / n : 0;
  const sums = clusters.map((tries) => total(tries.map((pair) => Number(pair.policy) - Number(pair.against))));
  const variance = n > 0 ? (gained + lost) / n - difference * difference : 0;
  const effect = designEffect(sums, clusters.map((tries) => tries.length), variance);
  return { ...pairedDifference(gained / effect, lost / effect, n / effect, z), n };
}

/**
 * How many times larger the variance of a mean is than if all tries were independent: at least 1 (never narrower than
 * independence), at most that of tries that always agree, which is also the answer where there is no variance to see.
 */
function designEffect(sums: number[], sizes: number[], variance: number): number {
  const n = total(sizes), m = sizes.filter((size) => size > 0).length;
  if (n === 0) return 1;
  const most = total(sizes.map((size) => size * size)) / n;
  if (variance <= 0 || m < 2) return most;
  const mean = total(sums) / n;
  const between = total(sums.map((sum, i) => (sum - mean * sizes[i]!) ** 2)) * (m / (m - 1));
  return Math.min(most, Math.max(1, between / (n * variance)));
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
