/**
 * The on-policy rung: per step, draw scenarios, run a group of rollouts for each, turn rewards into advantages, take
 * one optimiser step, publish the new policy. Stops early when the time left is needed for the closing evaluation.
 * @module
 */
import type { BatchRow } from "../../store/batch_file.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { OnlineTrainer, Policy } from "../../plugin.ts";
import type { Completed } from "../../store/recorded.ts";
import { groupAdvantages, shuffleRewards } from "./advantage.ts";
import { emit, type RunContext } from "../context.ts";
import type { Judged } from "../rollouts.ts";
import { evaluatePolicy } from "./measure.ts";
import { runGroups } from "../groups.ts";
import { stream } from "../../common/random.ts";
import { Sampler } from "./sampler.ts";
import { prune, publish, takeStep, type TrainingState } from "./training.ts";

/** What the rung leaves behind. */
export interface RlResult {
  steps: number;
  /** The checkpoint that `validation` likes best, or the last one. */
  checkpoint: string | null;
}

/** Runs the steps that are still missing. `reserve_secs` is what the closing evaluation will need. */
export async function reinforce(
  ctx: RunContext,
  trainer: OnlineTrainer,
  state: TrainingState,
  start: {
    policy: Policy;
    first_version: number;
    supervised_steps: number;
    warm_checkpoint: string | null;
    reserve_secs: number;
    done: Completed;
  },
): Promise<RlResult> {
  const { train } = ctx.config;
  const sampler = new Sampler(ctx.scenarios.filter(({ split }) => split === "train"), ctx.config.seed);
  let policy = start.policy;
  let best = bestSoFar(start.done);
  let longest = 0;
  let k = state.step - start.supervised_steps;
  const validates = () => train.validate_every > 0 && k > 0 && k % train.validate_every === 0;
  if (validates() && !start.done.validations.has(policy.name)) best = await validate(ctx, policy, state, best);
  while (k < train.steps) {
    ctx.signal.throwIfAborted();
    const left = Math.max(0, ctx.deadline - Date.now()) / 1000;
    if (left < longest * 1.1 + start.reserve_secs) {
      ctx.log.warn(`stopping after ${k} of ${train.steps} steps: ${left.toFixed(0)} s left of limits.wall_clock_secs`);
      break;
    }
    const spent = overspent(ctx);
    if (spent) {
      ctx.log.warn(`stopping after ${k} of ${train.steps} steps: ${spent}`);
      break;
    }
    const began = performance.now();
    await oneStep(ctx, trainer, state, { k, policy, sampler });
    k++;
    const version = start.first_version + k;
    policy = await publish(ctx, trainer, { name: `step-${k}`, version, checkpoint: state.checkpoint! });
    longest = Math.max(longest, (performance.now() - began) / 1000);
    ctx.progress.stepped();
    if (validates()) best = await validate(ctx, policy, state, best);
    await prune(ctx, [state.checkpoint, start.warm_checkpoint, best.checkpoint]);
  }
  return { steps: k, checkpoint: best.checkpoint ?? state.checkpoint };
}

/** Which limit of the run is used up, in words; null while none is. */
function overspent({ spent, config: { limits } }: RunContext): string | null {
  if (limits.rollouts && spent.rollouts >= limits.rollouts) return `limits.rollouts (${limits.rollouts}) is used up`;
  if (limits.tokens && spent.tokens >= limits.tokens) return `limits.tokens (${limits.tokens}) is used up`;
  return null;
}

async function oneStep(
  ctx: RunContext,
  trainer: OnlineTrainer,
  state: TrainingState,
  { k, policy, sampler }: { k: number; policy: Policy; sampler: Sampler },
) {
  const { train } = ctx.config;
  ctx.progress.begin("rl", train.groups_per_step * train.group_size, { step: k + 1, steps: train.steps });
  const groups = await runGroups(
    ctx,
    sampler.draw(k, train.groups_per_step).map((scenario, index) => ({
      group_id: `s${k}-g${index}`,
      scenario,
      policy: { ...policy, sampling: { ...policy.sampling, temperature: train.temperature } },
      agent: ctx.agent,
      purpose: "train",
      split: "train",
      step: k,
      size: train.group_size,
      timeout_secs: train.group_timeout_secs,
    })),
  );
  const { rows, dropped } = batchRows(ctx, groups);
  const metrics = stepMetrics(groups, dropped);
  if (metrics.valid === 0) throw new HoneError(messages.no_valid_reward(k + 1, firstInvalid(groups)));
  const learning_rate = learningRate(train, k);
  const report = await takeStep(ctx, trainer, state, { kind: "rl", rows, dropped, learning_rate, metrics });
  for (const [name, value] of Object.entries(metrics)) {
    await ctx.bus.emit("runner", "metric.recorded", { name, value, step: k }).ordered;
  }
  ctx.log.info(
    `step ${k + 1}/${train.steps}: reward ${metrics.reward_mean.toFixed(3)}, success ${
      metrics.success_rate.toFixed(2)
    }, ` +
      `invalid calls ${
        metrics.invalid_call_rate.toFixed(2)
      }, equal groups ${dropped.zero_variance}, rows ${rows.length}, ` +
      `loss ${report.loss.toFixed(4)}, train ${report.seconds.toFixed(1)} s`,
  );
}

/** The rate of step `k`, counted from 0. */
export function learningRate(train: RunContext["config"]["train"], k: number): number {
  return train.learning_rate * (train.learning_rate_decay === "linear" ? 1 - k / train.steps : 1);
}

/** Rows to train on, and what was left out and why. */
function batchRows(ctx: RunContext, groups: Judged[][]) {
  const { train } = ctx.config;
  const dropped = { zero_variance: 0, invalid: 0, truncated: 0 };
  const rows: BatchRow[] = [];
  for (const group of groups) {
    let rewards = group.map(({ reward }) => "invalid" in reward ? null : reward.value);
    dropped.invalid += rewards.filter((reward) => reward === null).length;
    if (train.shuffle_rewards) {
      rewards = shuffleRewards(rewards, stream(ctx.config.seed, `shuffle ${group[0]!.trajectory.group_id}`));
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
  return {
    rollout_id: trajectory.rollout_id,
    group_id: trajectory.group_id,
    policy_version: trajectory.policy_version,
    advantage,
    weight: 1,
    turns: trajectory.turns.map((turn) => {
      if (!turn.prompt_token_ids || !turn.output_token_ids || !turn.logprobs) {
        throw new HoneError(messages.tokens_missing(trajectory.rollout_id));
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

/** What a step's rollouts say, in the figures that reports and `query` show. */
function stepMetrics(groups: Judged[][], dropped: Record<string, number>) {
  const judged = groups.flat();
  const valid = judged.filter(({ reward }) => !("invalid" in reward));
  const turns = judged.flatMap(({ trajectory }) => trajectory.turns);
  const calls = judged.flatMap(({ trajectory }) => trajectory.tool_calls);
  const invalid = turns.filter((turn) => turn.invalid_call).length;
  const sequences = groups.map((group) =>
    new Set(group.map(({ trajectory }) => trajectory.tool_calls.map(({ tool }) => tool).join(" "))).size
  );
  const rewards = valid.map(({ reward }) => "invalid" in reward ? 0 : reward.value);
  return {
    valid: valid.length,
    reward_mean: mean(rewards),
    success_rate: mean(valid.map(({ success }) => success ? 1 : 0)),
    invalid_call_rate: invalid / Math.max(1, calls.length + invalid),
    turns_mean: mean(judged.map(({ trajectory }) => trajectory.turns.length)),
    output_tokens_mean: mean(turns.map((turn) => turn.output_tokens)),
    distinct_call_sequences: mean(sequences),
    zero_variance_groups: dropped.zero_variance ?? 0,
  };
}

/** The checkpoint that validation likes best, the first of equals. */
interface Best {
  success: number;
  checkpoint: string | null;
}

function bestSoFar({ validations, policies }: Completed): Best {
  let best: Best = { success: -1, checkpoint: null };
  for (const [name, success] of validations) {
    if (success > best.success) best = { success, checkpoint: policies.get(name)?.checkpoint ?? null };
  }
  return best;
}

async function validate(ctx: RunContext, policy: Policy, state: TrainingState, best: Best): Promise<Best> {
  const sampling = ctx.config.evaluate.sampling[0]!;
  const judged = await evaluatePolicy(ctx, {
    policy,
    agent: ctx.agent,
    split: "validation",
    tries: 1,
    sampling,
    phase: "validation",
  });
  const valid = judged.filter(({ reward }) => !("invalid" in reward));
  const success = mean(valid.map((rollout) => rollout.success ? 1 : 0));
  await emit(ctx, "runner", "metric.recorded", { name: "validation_success", value: success, step: state.step });
  return success > best.success ? { success, checkpoint: state.checkpoint } : best;
}

function firstInvalid(groups: Judged[][]): string {
  const reward = groups.flat().map((judged) => judged.reward).find((r) => "invalid" in r);
  return reward && "invalid" in reward ? reward.invalid : "no rollout ran";
}

function mean(values: number[]): number {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}
