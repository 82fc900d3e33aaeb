/**
 * Group statistics: from rewards to advantages. Invalid rewards are ignored: they are no part of the mean. A group with
 * too few valid rewards, or whose valid rewards are all equal, has no learning signal and is dropped and counted.
 * @module
 */
import { shuffled } from "../../common/random.ts";

/** Options for advantages. */
export interface AdvantageOptions {
  /** `mean`: r - mean. `mean_std`: (r - mean) / (std + eps), population std. */
  advantage: "mean" | "mean_std";
  advantage_eps: number;
  /** Minimum number of valid rewards. */
  min_group_size: number;
}

/** Rewards of one group, in the order of its rollouts; null if invalid. */
export type GroupRewards = (number | null)[];

/** Why a group has no learning signal. */
export type NoSignal = "too_small" | "zero_variance";

const EQUAL = 1e-9;

/** Advantages of one group, null where the reward is invalid; or why the group has no learning signal. */
export function groupAdvantages(rewards: GroupRewards, options: AdvantageOptions): GroupRewards | NoSignal {
  const valid = rewards.filter((reward): reward is number => reward !== null);
  if (valid.length < Math.max(2, options.min_group_size)) return "too_small";
  const mean = valid.reduce((sum, reward) => sum + reward, 0) / valid.length;
  const variance = valid.reduce((sum, reward) => sum + (reward - mean) ** 2, 0) / valid.length;
  if (Math.sqrt(variance) < EQUAL) return "zero_variance";
  const scale = options.advantage === "mean_std" ? Math.sqrt(variance) + options.advantage_eps : 1;
  return rewards.map((reward) => reward === null ? null : (reward - mean) / scale);
}

/** The negative control: shuffles the valid rewards of a group among its valid rollouts. */
export function shuffleRewards(rewards: GroupRewards, random: () => number): GroupRewards {
  const dealt = shuffled(rewards.filter((reward) => reward !== null), random);
  return rewards.map((reward) => reward === null ? null : dealt.pop()!);
}
