/**
 * How often one of two sides is preferred to the other, from comparisons in pairs with ties.
 * @module
 */
import type { Interval } from "../events.ts";
import { clusteredPairedDifference } from "./proportion.ts";

/** What a judge said of one pair. */
export type Preferred = "win" | "tie" | "loss";

/** Figures of a comparison. */
export interface Preferences {
  wins: number;
  ties: number;
  losses: number;
  /** Wins and half of the ties, as a share of all pairs; 0.5: neither is preferred. */
  share: Interval;
}

/**
 * Share of pairs that a side wins, ties counted half, with its 95 % interval: that of the paired difference between wins
 * and losses. Without pairs nothing is known, and the interval is [0, 1].
 * @param clusters The pairs of each scenario; pairs of one scenario are not taken as independent.
 */
export function preferences(clusters: readonly (readonly Preferred[])[]): Preferences {
  const all = clusters.flat();
  const count = (wanted: Preferred) => all.filter((one) => one === wanted).length;
  const pairs = clusters.map((some) => some.map((one) => ({ policy: one === "win", against: one === "loss" })));
  const { mean, low, high, n } = clusteredPairedDifference(pairs);
  const share = (difference: number) => (1 + difference) / 2;
  return {
    wins: count("win"),
    ties: count("tie"),
    losses: count("loss"),
    share: { mean: share(mean), low: share(low), high: share(high), n },
  };
}
