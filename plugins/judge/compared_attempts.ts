/**
 * What judges share that compare the rollouts of a group: the distinct attempts among them, in a shuffled order.
 * @module
 */
import { digest, shuffled, stream } from "@hone/hone";
import type { Judgement, Scenario, Trajectory } from "@hone/hone";
import { z } from "zod";
import { attemptText, type View } from "./attempt_text.ts";

/** Settings of the order and of the smallest group. */
export const comparison_settings = {
  min_group: z.int().min(2).default(2).describe(
    "Minimum number of rollouts in a group; the judge abstains on smaller ones.",
  ),
  order_seed: z.int().min(0).default(0).describe(
    "Seed of the order in which rollouts are shown: with another one the model sees them in another order.",
  ),
};

/** Parsed settings. */
export interface ComparisonSettings extends View {
  min_group: number;
  order_seed: number;
}

/** The distinct attempts of a group, in the order in which they are shown. */
export interface Compared {
  /** Text of each, as shown to the model. */
  texts: string[];
  /** For each rollout of the group, the index of its attempt in `texts`. */
  attempt_of: number[];
}

/**
 * The distinct attempts of a group, or its judgement where there is nothing to compare: the judge abstains on a group
 * that is too small; attempts that are all identical are equal, with the parts `if_equal`. The order depends on the seed and on what the group
 * contains, and moves with the order of the rollouts in it.
 */
export function compared(
  group: readonly Trajectory[],
  scenario: Scenario,
  settings: ComparisonSettings,
  if_equal: Record<string, number>,
): Compared | Judgement {
  if (group.length < settings.min_group) {
    return { abstain: `a group of ${group.length}: at least ${settings.min_group} rollouts are needed to compare` };
  }
  const all = group.map((trajectory) => attemptText(trajectory, settings));
  const distinct = [...new Set(all)];
  if (distinct.length === 1) {
    return { score: 0.5, reason: `all ${group.length} attempts are identical`, parts: if_equal };
  }
  const content = digest([scenario.task, distinct.toSorted()]);
  const texts = shuffled(distinct, stream(settings.order_seed, `order ${content}`));
  return { texts, attempt_of: all.map((text) => texts.indexOf(text)) };
}
