/**
 * pass@k and pass^k of repeated attempts: how probably at least one of k attempts at a scenario succeeds, and how
 * probably all of them do. Unbiased for each scenario; scenarios weigh the same.
 * @module
 */
import type { Interval } from "../events.ts";
import { bootstrapMean } from "./bootstrap.ts";
import { wilson } from "./proportion.ts";

/** The attempts at one scenario. */
export interface Attempts {
  tries: number;
  successes: number;
}

/**
 * The unbiased estimate of pass@k: 1 − C(n − c, k) / C(n, k).
 *
 * Source: M. Chen et al., Evaluating Large Language Models Trained on Code, arXiv 2107.03374 (2021), section 2.1.
 */
export function passAtK({ tries, successes }: Attempts, k: number): number {
  return 1 - passHatK({ tries, successes: tries - successes }, k);
}

/**
 * The unbiased estimate of pass^k: C(c, k) / C(n, k).
 *
 * Source: S. Yao et al., τ-bench, arXiv 2406.12045 (2024), section 4.
 */
export function passHatK({ tries, successes }: Attempts, k: number): number {
  let share = 1;
  for (let i = 0; i < k; i++) share *= Math.max(0, successes - i) / (tries - i);
  return share;
}

/** Fewer scenarios than this on either side of a proportion, and the bootstrap no longer covers it. */
const ENOUGH_EACH_WAY = 8;

/**
 * Mean of `estimate` over the scenarios with at least `k` tries, with its 95 % interval: by bootstrap over scenarios;
 * near 0 and 1, where that is too narrow, Wilson's. `n` is the number of scenarios.
 */
export function meanAtK(
  scenarios: readonly Attempts[],
  k: number,
  estimate: (attempts: Attempts, k: number) => number,
  seed: number,
): Interval {
  const shares = scenarios.filter(({ tries }) => tries >= k).map((attempts) => estimate(attempts, k));
  const sum = shares.reduce((a, b) => a + b, 0);
  const near = Math.min(sum, shares.length - sum) < ENOUGH_EACH_WAY;
  if (near || shares.every((share) => share === 0 || share === 1)) return wilson(sum, shares.length);
  return bootstrapMean(shares.map((share) => [share]), { seed });
}
