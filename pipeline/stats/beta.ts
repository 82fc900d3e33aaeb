/**
 * The regularised incomplete beta function, from which exact binomial limits come.
 * @module
 */

/**
 * I_x(a, b): the probability that a Beta(a, b) variable is below `x`; for whole numbers, that a Binomial(a + b − 1, x)
 * variable is at least `a`.
 *
 * Source: W. H. Press et al., Numerical Recipes, 3rd edition (2007), section 6.4 (continued fraction, by Lentz's method).
 * @param a Above 0. @param b Above 0. @param x In [0, 1].
 */
export function incompleteBeta(a: number, b: number, x: number): number {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
  // The fraction converges quickly only below the mean.
  if (x < (a + 1) / (a + b + 2)) return front * fraction(a, b, x) / a;
  return 1 - front * fraction(b, a, 1 - x) / b;
}

const TINY = 1e-300;

function fraction(a: number, b: number, x: number): number {
  const away = (value: number) => Math.abs(value) < TINY ? TINY : value;
  let c = 1, d = 1 / away(1 - (a + b) * x / (a + 1)), result = d;
  for (let m = 1; m <= 500; m++) {
    const even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away(1 + even * d);
    c = away(1 + even / c);
    result *= d * c;
    const odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away(1 + odd * d);
    c = away(1 + odd / c);
    result *= d * c;
    if (Math.abs(d * c - 1) < 1e-14) break;
  }
  return result;
}

/** Source: C. Lanczos's approximation with the coefficients of P. Godfrey (g = 7, n = 9), relative error below 1e-13. */
const LANCZOS = [
  0.99999999999980993,
  676.5203681218851,
  -1259.1392167224028,
  771.32342877765313,
  -176.61502916214059,
  12.507343278686905,
  -0.13857109526572012,
  9.9843695780195716e-6,
  1.5056327351493116e-7,
];

/** The logarithm of the gamma function of a positive number. */
export function logGamma(x: number): number {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const t = x + 6.5;
  const sum = LANCZOS.reduce((sum, c, i) => i === 0 ? c : sum + c / (x - 1 + i), 0);
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
}
