/**
 * Group statistics: from rewards to advantages. Invalid rewards are ignored; a group whose valid rewards are all equal
 * has no learning signal and is dropped and counted.
 * @module
 */
import { shuffled } from "../../common/random.ts";

/** Options for advantages. */
export interface AdvantageOptions {
  /** `mean`: r - mean. `mean_std`: (r - mean) / (std + eps), population std. */
  advantage: "mean" | "mean_std";
  advantage_eps: number;
}

/** Rewards of one group, in the order of its rollouts; null if invalid. */
export type GroupRewards = (number | null)[];

const EQUAL = 1e-9;

/**
 * Advantages of one group, null if the reward is invalid; or null for the whole group if fewer than two rewards are
 * valid or all of them are equal.
 */
export function groupAdvantages(rewards: GroupRewards, options: AdvantageOptions): GroupRewards | null {
  const valid = rewards.filter((reward): reward is number => reward !== null);
  if (valid.length < 2) return null;
  const mean = valid.reduce((sum, reward) => sum + reward, 0) / valid.length;
  const variance = valid.reduce((sum, reward) => sum + (reward - mean) ** 2, 0) / valid.length;
  if (Math.sqrt(variance) < EQUAL) return null;
  const scale = options.advantage === "mean_std" ? Math.sqrt(variance) + options.advantage_eps : 1;
  return rewards.map((reward) => reward === null ? null : (reward - mean) / scale);
}

/** The negative control: shuffles the valid rewards of a group among its valid rollouts. */
export function shuffleRewards(rewards: GroupRewards, random: () => number): GroupRewards {
  const dealt = shuffled(rewards.filter((reward) => reward !== null), random);
  return rewards.map((reward) => reward === null ? null : dealt.pop()!);
}
