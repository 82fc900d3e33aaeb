/**
 * What one RL step is trained on: from its judged groups to rows with advantages, counts of what is left out by cause,
 * and metrics. The groups are those that were drawn, then those that replace some of them; metrics of rollouts are those
 * of the drawn ones alone, so that steps can be compared with each other.
 * @module
 */
import { stream } from "../../common/random.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { BatchRow } from "../../store/batch_file.ts";
import type { Judged, Run } from "../context.ts";
import { groupAdvantages, type GroupRewards, type NoSignal, shuffleRewards } from "./advantage.ts";

/** See the module. */
export interface StepBatch {
  rows: BatchRow[];
  /** Groups without a learning signal, and rollouts left out. */
  dropped: Record<NoSignal | "invalid" | "truncated", number>;
  metrics: Record<string, number>;
}

/** The batch of an RL step. */
export function stepBatch({ config: { train, seed } }: Pick<Run, "config">, groups: Judged[][]): StepBatch {
  const dropped = { zero_variance: 0, too_small: 0, invalid: 0, truncated: 0 };
  const rows: BatchRow[] = [];
  for (const group of groups) {
    let rewards = rewardsOf(group);
    dropped.invalid += rewards.filter((reward) => reward === null).length;
    if (train.shuffle_rewards) {
      rewards = shuffleRewards(rewards, stream(seed, `shuffle ${group[0]!.trajectory.group_id}`));
    }
    const advantages = groupAdvantages(rewards, train);
    if (typeof advantages === "string") {
      dropped[advantages]++;
      continue;
    }
    for (const [index, { trajectory }] of group.entries()) {
      const advantage = advantages[index];
      if (advantage === null || advantage === undefined) continue;
      if (train.mask_truncated && trajectory.turns.some((turn) => turn.finish_reason === "length")) {
        dropped.truncated++;
        continue;
      }
      rows.push(trainableRow(trajectory, advantage));
    }
  }
  const drawn = groups.slice(0, train.groups_per_step);
  const silent = (cause: NoSignal) => drawn.filter((group) => noSignal(group, train) === cause).length;
  return {
    rows,
    dropped,
    metrics: {
      ...rolloutMetrics(drawn),
      zero_variance_groups: silent("zero_variance"),
      small_groups: silent("too_small"),
      signal_groups: groups.length - dropped.zero_variance - dropped.too_small,
      ...(train.replace_equal_groups > 0 && { replacement_groups: groups.length - drawn.length }),
    },
  };
}

/** Why a group has no learning signal; null if it has one. */
export function noSignal(group: Judged[], train: Run["config"]["train"]): NoSignal | null {
  const advantages = groupAdvantages(rewardsOf(group), train);
  return typeof advantages === "string" ? advantages : null;
}

function rewardsOf(group: Judged[]): GroupRewards {
  return group.map(({ reward }) => "invalid" in reward ? null : reward.value);
}

function trainableRow(trajectory: Judged["trajectory"], advantage: number): BatchRow {
  const { rollout_id, group_id, policy_version, turns } = trajectory;
  return {
    rollout_id,
    group_id,
    // The oldest weights that sampled it: newer ones than requested may have been loaded meanwhile.
    policy_version: Math.min(
      ...(turns.length > 0 ? turns.map((turn) => turn.policy_version ?? policy_version) : [policy_version]),
    ),
    advantage,
    weight: 1,
    turns: turns.map((turn) => {
      if (!turn.prompt_token_ids || !turn.output_token_ids || !turn.logprobs) {
        throw new HoneError(messages.tokens_missing(rollout_id));
      }
      return {
        prompt_ids: turn.prompt_token_ids,
        output_ids: turn.output_token_ids,
        logprobs: turn.logprobs,
        finish_reason: turn.finish_reason,
      };
    }),
  };
}

/** For reports and `query`. */
function rolloutMetrics(groups: Judged[][]): Record<string, number> {
  const judged = groups.flat();
  const valid = judged.filter(({ reward }) => !("invalid" in reward));
  const turns = judged.flatMap(({ trajectory }) => trajectory.turns);
  const calls = judged.flatMap(({ trajectory }) => trajectory.tool_calls);
  const invalid = turns.filter((turn) => turn.invalid_call).length;
  const sequences = groups.map((group) =>
    new Set(group.map(({ trajectory }) => trajectory.tool_calls.map(({ tool }) => tool).join(" "))).size
  );
  return {
    valid: valid.length,
    reward_mean: mean(valid.map(({ reward }) => "invalid" in reward ? 0 : reward.value)),
    success_rate: mean(valid.map(({ success }) => success ? 1 : 0)),
    invalid_call_rate: invalid / Math.max(1, calls.length + invalid),
    turns_mean: mean(judged.map(({ trajectory }) => trajectory.turns.length)),
    output_tokens_mean: mean(turns.map((turn) => turn.output_tokens)),
    distinct_call_sequences: mean(sequences),
  };
}

function mean(values: number[]): number {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}
