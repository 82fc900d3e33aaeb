/**
 * The standard normal distribution.
 * @module
 */

/** Standard normal quantile of a two-sided 95 % interval. */
export const Z95 = 1.959963984540054;

/**
 * Quantile of a two-sided interval that holds together with `comparisons - 1` others in 95 % of cases (Bonferroni).
 *
 * Source: formula 26.2.23 of M. Abramowitz and I. A. Stegun, Handbook of Mathematical Functions (1964), within 4.5e-4.
 */
export function simultaneousZ(comparisons: number): number {
  if (comparisons <= 1) return Z95;
  const t = Math.sqrt(-2 * Math.log(0.025 / comparisons));
  return t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t ** 3);
}
