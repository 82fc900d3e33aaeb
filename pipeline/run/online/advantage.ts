/**
 * Group statistics: from rewards to advantages. Invalid rewards count for nothing; a group whose valid rewards
 * are all equal teaches nothing and is dropped and counted.
 * @module
 */
import { shuffled } from "../../common/random.ts";

/** How advantages are scaled. */
export interface AdvantageOptions {
  /** `mean`: r - mean. `mean_std`: (r - mean) / (std + eps), population std. */
  advantage: "mean" | "mean_std";
  advantage_eps: number;
}

/** Rewards of one group, in the order of its rollouts; null where the reward is invalid. */
export type GroupRewards = (number | null)[];

const EQUAL = 1e-9;

/**
 * Advantages of one group, null where the reward is invalid; or null for the whole group when fewer than two
 * rewards are valid or all of them are equal.
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

/** The negative control: the valid rewards of a group, dealt out again at random among its valid rollouts. */
export function shuffleRewards(rewards: GroupRewards, random: () => number): GroupRewards {
  const dealt = shuffled(rewards.filter((reward) => reward !== null), random);
  return rewards.map((reward) => reward === null ? null : dealt.pop()!);
}
