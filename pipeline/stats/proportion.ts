/**
 * 95 % intervals for a proportion and for the difference of two paired proportions, which stay honest near 0 and 1,
 * with several tries of one scenario counted as one cluster. Pure functions; counts in, `Interval` out.
 *
 * Score intervals cover the truth in 95 % of cases on average, but at some rates near 0 and 1 in less than 85 %; where
 * the exact mid-P limits are wider, they are used instead (tests/bench/coverage.ts measures both).
 * @module
 */
import type { Interval } from "../events.ts";
import { incompleteBeta, logGamma } from "./beta.ts";
import { simultaneousZ, Z95 } from "./normal.ts";

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

/**
 * The exact limits of a proportion, with half the probability of what was observed.
 *
 * Source: H. O. Lancaster, JASA 56 (1961) 223–234; A. Agresti and A. Gottard, Comput. Stat. Data Anal. 51 (2007)
 * 6447–6458. Fractional counts go through the beta distribution.
 * @param alpha Probability outside of the limits.
 */
export function midP(successes: number, n: number, alpha: number = 0.05): { low: number; high: number } {
  const lower = (x: number) => {
    if (x <= 0) return 0;
    const ways = logGamma(n + 1) - logGamma(x + 1) - logGamma(n - x + 1);
    const exactly = (p: number) => Math.exp(ways + x * Math.log(p) + (n - x) * Math.log1p(-p));
    return bisect((p) => incompleteBeta(x, n - x + 1, p) - exactly(p) / 2 < alpha / 2, 0, x / n);
  };
  return { low: lower(successes), high: 1 - lower(n - successes) };
}

/** With more successes and more failures than this, the score interval covers without the exact one. */
const SCORE_COVERS = 16;

/** Wilson's interval; near 0 and 1, or of few units, the mid-P limits where these are wider. */
function proportion(successes: number, n: number): Interval {
  const score = wilson(successes, n);
  if (n <= 0 || Math.min(successes, n - successes) > SCORE_COVERS) return score;
  const exact = midP(successes, n);
  return { ...score, low: Math.min(score.low, exact.low), high: Math.max(score.high, exact.high) };
}

/** So few units that were not gained (or not lost) make the difference nearly that of a single proportion. */
const FEW = 4;

/** Tango's interval; close to −1 and 1, the mid-P limits of the two cells where their difference is wider. */
function difference(gained: number, lost: number, n: number, comparisons: number): Interval {
  const score = pairedDifference(gained, lost, n, simultaneousZ(comparisons));
  if (n <= 0 || n - Math.max(gained, lost) > FEW) return score;
  const [up, down] = [midP(gained, n, 0.05 / comparisons), midP(lost, n, 0.05 / comparisons)];
  return gained > lost
    ? { ...score, high: Math.max(score.high, up.high - down.low) }
    : { ...score, low: Math.min(score.low, up.low - down.high) };
}

/** Where `holds` turns from true to false between `low` and `high`. */
function bisect(holds: (x: number) => boolean, low: number, high: number): number {
  let [a, b] = [low, high];
  for (let i = 0; i < 45; i++) {
    const middle = (a + b) / 2;
    if (holds(middle)) a = middle;
    else b = middle;
  }
  return (a + b) / 2;
}

/**
 * The interval of a proportion where one scenario may have been tried several times: counts are divided by the design
 * effect, so that tries that always agree count once.
 *
 * Source: J. N. K. Rao and A. J. Scott, Biometrics 48 (1992) 577–585 (effective sample size by the design effect).
 * @param clusters The tries of each scenario. `n` of the result is the number of tries.
 */
export function clusteredProportion(clusters: readonly (readonly boolean[])[]): Interval {
  const sizes = clusters.map((tries) => tries.length);
  const sums = clusters.map((tries) => tries.filter(Boolean).length);
  const n = total(sizes), successes = total(sums);
  const p = n > 0 ? successes / n : 0;
  const effect = designEffect(sums, sizes, p * (1 - p), departing(clusters, [true, false], Object.is));
  return { ...proportion(successes / effect, n / effect), mean: p, n };
}

/**
 * The interval of a paired difference where one scenario may have been tried several times, by the design effect of the
 * differences.
 *
 * Source: as `clusteredProportion`; for pairs Z. Yang, X. Sun and J. W. Hardin, Stat. Med. 31 (2012) 3183–3198.
 * @param clusters The pairs of each scenario. `n` of the result is the number of pairs.
 * @param comparisons How many intervals are to hold together (Bonferroni).
 */
export function clusteredPairedDifference(clusters: readonly (readonly Pair[])[], comparisons = 1): Interval {
  const pairs = clusters.flat();
  const n = pairs.length;
  const gained = pairs.filter((pair) => pair.policy && !pair.against).length;
  const lost = pairs.filter((pair) => !pair.policy && pair.against).length;
  const mean = n > 0 ? (gained - lost) / n : 0;
  const sums = clusters.map((tries) => total(tries.map((pair) => Number(pair.policy) - Number(pair.against))));
  const variance = n > 0 ? (gained + lost) / n - mean * mean : 0;
  const rare = departing(clusters, [1, 0, -1], (pair, value) => Number(pair.policy) - Number(pair.against) === value);
  const effect = designEffect(sums, clusters.map((tries) => tries.length), variance, rare);
  return { ...difference(gained / effect, lost / effect, n / effect, comparisons), mean, n };
}

/** The number of clusters that are not all of one value, for the value of which it is least. */
function departing<T, V>(clusters: readonly (readonly T[])[], values: V[], is: (item: T, value: V) => boolean): number {
  return Math.min(...values.map((v) => clusters.filter((tries) => tries.some((item) => !is(item, v))).length));
}

/** With so few departing clusters, how far tries agree cannot be seen, and they count as if they always did. */
const UNSEEN = 6;

/**
 * How many times larger the variance of a mean is than if all tries were independent: at least 1 (never narrower than
 * independence), at most that of tries that always agree, which is also the answer where there is no variance to see.
 * Where little is to be seen, the answer lies in between: few rare successes that happen to lie apart are no evidence
 * of independence.
 * @param rare See `departing`.
 */
function designEffect(sums: number[], sizes: number[], variance: number, rare: number): number {
  const n = total(sizes), m = sizes.filter((size) => size > 0).length;
  if (n === 0) return 1;
  const most = total(sizes.map((size) => size * size)) / n;
  if (variance <= 0 || m < 2) return most;
  const mean = total(sums) / n;
  const between = total(sums.map((sum, i) => (sum - mean * sizes[i]!) ** 2)) * (m / (m - 1));
  const seen = Math.min(most, Math.max(1, between / (n * variance)));
  return seen + (most - seen) * Math.min(1, UNSEEN / rare);
}

function total(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}
