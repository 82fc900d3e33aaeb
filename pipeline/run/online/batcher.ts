/**
 * group.rewarded … → batch.ready: the groups of a training step, in the order of their requests, become one batch of
 * rows with advantages; the demonstrations of the warm start, once all are replayed, become the batches of its epochs.
 * Batches are published in the order of steps, whatever the order in which groups finish.
 * @module
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Out } from "../../bus.ts";
import { stream } from "../../common/random.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { Batch } from "../../events.ts";
import { type BatchRow, writeBatch } from "../../store/batch_file.ts";
import type { Bound } from "../bindings.ts";
import type { Group, Judged, Run } from "../context.ts";
import { groupAdvantages, shuffleRewards } from "./advantage.ts";
import { firstVersion, trainedSteps } from "./sampler.ts";
import { demonstrated, supervisedBatches } from "./warm_start.ts";

/** Binds the batcher. */
export function bind(run: Run): Bound[] {
  const steps = new Map<number, Group[]>();
  const demonstrations: Group[] = [];
  let [wanted, next]: (number | undefined)[] = [];
  return [{
    stage: "batcher",
    on: {
      "group.rewarded": async ({ data: { group_id, purpose, step } }, out) => {
        if (purpose === "evaluation") return;
        const group = run.groups.get(group_id)!;
        run.groups.delete(group_id);
        if (purpose === "demonstration") {
          demonstrations.push(group);
          wanted ??= demonstrated(run).length;
          if (demonstrations.length === wanted) await warmStart(run, inOrder(demonstrations.splice(0)), out);
          return;
        }
        steps.set(step, [...steps.get(step) ?? [], group]);
        next ??= trainedSteps(run) + 1;
        for (; steps.get(next)?.length === run.config.train.groups_per_step; next++) {
          await batch(run, next, inOrder(steps.get(next)!), out);
          steps.delete(next);
        }
      },
    },
  }];
}

function inOrder(groups: Group[]): Group[] {
  return groups.toSorted((a, b) => a.request.index - b.request.index);
}

/** Publishes the supervised batches that are not trained on yet. */
async function warmStart(run: Run, groups: Group[], { publish }: Out) {
  const batches = await supervisedBatches(run, groups);
  const { step: done, checkpoint } = run.recorded;
  run.supervised_steps = batches.length;
  const policy = { name: run.config.ladder.includes("rl") ? "warm_start" : "tuned", version: 1 };
  run.progress.begin("warm start", batches.length);
  // All steps were trained when the run was stopped, but the policy was not published yet.
  if (done >= batches.length) return await publish("policy.requested", { ...policy, checkpoint: checkpoint! });
  const { learning_rate } = run.config.warm_start;
  for (const [index, rows] of batches.entries()) {
    const step = index + 1;
    if (step <= done) {
      run.progress.advance();
      continue;
    }
    const settings = { step, kind: "supervised", learning_rate, dropped: {}, metrics: {}, staleness: 0 } as const;
    const publish_as = step === batches.length ? { publish_as: policy } : {};
    await publish("batch.ready", { ...settings, ...await written(run, "supervised", step, rows), ...publish_as });
  }
}

/** Publishes the batch of an RL step. */
async function batch(run: Run, rl_step: number, groups: Group[], { publish }: Out) {
  const { train } = run.config;
  const { rows, dropped } = batchRows(run, groups.map(({ judged }) => judged!));
  const metrics = stepMetrics(groups.map(({ judged }) => judged!), dropped);
  if (metrics.valid === 0) throw new HoneError(messages.no_valid_reward(rl_step, firstInvalid(groups), run.run_dir));
  const step = run.supervised_steps + rl_step;
  for (const [name, value] of Object.entries(metrics)) {
    await publish("metric.recorded", { name, value, step, kind: "rl" });
  }
  const version = firstVersion(run) + rl_step - 1;
  const staleness = Math.max(0, ...rows.map(({ policy_version }) => version - policy_version));
  const learning_rate = learningRate(train, rl_step - 1);
  await publish("batch.ready", {
    ...await written(run, "rl", step, rows),
    step,
    kind: "rl",
    dropped,
    learning_rate,
    metrics,
    staleness,
    publish_as: { name: `step-${rl_step}`, version: version + 1 },
  });
}

async function written(run: Run, kind: Batch["kind"], step: number, rows: BatchRow[]) {
  const path = `batches/${kind}-${String(step).padStart(5, "0")}.jsonl`;
  await mkdir(join(run.run_dir, "batches"), { recursive: true });
  await writeBatch(join(run.run_dir, path), rows);
  return { path, rows: rows.length };
}

/** The learning rate of step `k`, counted from 0. */
export function learningRate(train: Run["config"]["train"], k: number): number {
  return train.learning_rate * (train.learning_rate_decay === "linear" ? 1 - k / train.steps : 1);
}

/** Rows to train on, and counts of dropped groups and rollouts by cause. */
function batchRows({ config: { train, seed } }: Run, groups: Judged[][]) {
  const dropped = { zero_variance: 0, invalid: 0, truncated: 0 };
  const rows: BatchRow[] = [];
  for (const group of groups) {
    let rewards = group.map(({ reward }) => "invalid" in reward ? null : reward.value);
    dropped.invalid += rewards.filter((reward) => reward === null).length;
    if (train.shuffle_rewards) {
      rewards = shuffleRewards(rewards, stream(seed, `shuffle ${group[0]!.trajectory.group_id}`));
    }
    const advantages = groupAdvantages(rewards, train);
    if (!advantages) {
      dropped.zero_variance++;
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
  return { rows, dropped };
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

/** Metrics of a step's rollouts, for reports and `query`. */
function stepMetrics(groups: Judged[][], dropped: Record<string, number>) {
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
    zero_variance_groups: dropped.zero_variance ?? 0,
  };
}

function firstInvalid(groups: Group[]): string {
  const reward = groups.flatMap(({ judged }) => judged!).map((judged) => judged.reward).find((r) => "invalid" in r);
  return reward && "invalid" in reward ? reward.invalid : "no rollout ran";
}

function mean(values: number[]): number {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}
