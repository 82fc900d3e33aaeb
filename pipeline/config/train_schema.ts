/**
 * The schema of `train:` in a pipeline file: on-policy reinforcement learning.
 * @module
 */
import { z } from "zod";

const positive = () => z.number().positive();
const count = () => z.int().min(1);

const loss = z.strictObject({
  preset: z.enum(["cispo", "grpo", "dr_grpo", "dapo", "gspo", "dppo"]).default("cispo")
    .describe("Named set of loss options."),
  ratio: z.enum(["token", "sequence"]).optional().describe("Level of the importance ratio.")
    .meta({ examples: ["token"] }),
  clip: z.enum(["cispo", "ppo", "dppo", "none"]).optional().describe(
    "Kind of clipping: `cispo` caps the weight of a token, `ppo` clips its ratio, `dppo` leaves out tokens whose " +
      "probability has already moved far enough.",
  ).meta({ examples: ["ppo"] }),
  eps_low: z.number().min(0).optional().describe(
    "Lower clipping bound of the ratio, with `dppo` of the probability's change.",
  ).meta({ examples: [0.2] }),
  eps_high: z.number().min(0).optional().describe(
    "Upper clipping bound of the ratio, with `dppo` of the probability's change.",
  ).meta({ examples: [0.28] }),
  cap: positive().optional().describe("Maximum ratio with `clip: cispo`.").meta({ examples: [5] }),
  normaliser: z.enum(["tokens", "sequences", "constant"]).optional().describe("Divisor of the sum over tokens.")
    .meta({ examples: ["tokens"] }),
  constant: positive().optional().describe("The divisor of `normaliser: constant`.").meta({ examples: [1024] }),
  tis: z.enum(["token", "sequence_mask"]).optional().describe(
    "How `tis_cap` corrects for differences between sampler and trainer: `token` (the default) caps the importance weight " +
      "of each token (no effect with `clip: cispo`, which has a cap of its own); `sequence_mask` drops rollouts whose " +
      "mean ratio exceeds it.",
  ).meta({ examples: ["sequence_mask"] }),
  tis_cap: positive().optional().describe(
    "Cap of the importance weight that corrects for differences between sampler and trainer.",
  )
    .meta({ examples: [2] }),
  tau: z.number().min(0).optional().describe(
    "Weight of the squared log-ratio to the policy that sampled, which keeps updates small.",
  ).meta({ examples: [0.001] }),
  beta: z.number().min(0).optional().describe("Weight of the KL penalty against the base policy.").meta({
    examples: [0],
  }),
}).refine((loss) => loss.tis === undefined || loss.tis_cap !== undefined, {
  path: ["tis"],
  message: "needs tis_cap, the ratio from which it corrects",
  // Beside other problems too, not only once they are mended.
  when: ({ value }) => typeof value === "object" && value !== null,
});

const difficulty = z.strictObject({
  probes: z.int().min(2).default(4).describe(
    "Attempts at each training scenario by the policy that RL starts from, before the first step.",
  ),
  keep: z.tuple([z.number().min(0).max(1), z.number().min(0).max(1)]).default([0.1, 0.9])
    .refine(([low, high]) => low < high, "must be the lowest pass rate, then a higher one")
    .describe("Lowest and highest pass rate of the scenarios that RL trains on; others are left out, and counted."),
});

/** See the module. */
export const train = z.strictObject({
  group_size: z.int().min(2).default(8).describe(
    "Rollouts per group; a group's rollouts attempt the same scenario and are compared with each other.",
  ),
  groups_per_step: count().default(6).describe("Groups (scenarios) per optimiser step."),
  steps: count().default(8).describe("Optimiser steps of the `rl` rung."),
  concurrency: count().default(48).describe("Maximum number of concurrent rollouts."),
  group_timeout_secs: positive().default(120).describe(
    "Time limit for a group (the rollouts of one scenario) from the moment its first rollout has its servers, in training " +
      "and in evaluations.",
  ),
  learning_rate: positive().default(2e-5).describe("Learning rate of the `rl` rung."),
  learning_rate_decay: z.enum(["none", "linear"]).default("none")
    .describe("Learning-rate schedule: constant, or linear decay to zero over the steps."),
  fresh_optimizer: z.boolean().default(true).describe(
    "Start the `rl` rung with a new optimizer (moments and warmup) instead of continuing with that of the warm start, " +
      "whose larger gradients would make the first updates of RL too small.",
  ),
  advantage: z.enum(["mean", "mean_std"]).default("mean")
    .describe("Reward minus the group's mean, optionally divided by the group's standard deviation."),
  advantage_eps: positive().default(1e-4).describe("Added to the standard deviation with `mean_std`."),
  loss: loss.prefault({}).describe("The loss: a preset and overrides of its options."),
  mask_truncated: z.boolean().default(true).describe("Exclude truncated rollouts from the loss."),
  min_group_size: z.int().min(2).default(2).describe(
    "Minimum number of valid rewards in a group; groups with fewer are left out of the step, and counted.",
  ),
  replace_equal_groups: z.int().min(0).default(0).describe(
    "Maximum number of further groups per step, in place of those without a learning signal because all their rewards are " +
      "equal; of other scenarios of the same family (first tag), as far as the limits of the run allow.",
  ),
  give_up_after: z.int().min(0).default(3).describe(
    "Number of consecutive steps in which no group has a learning signal, after which the run stops with the reason, or, " +
      "if every rollout succeeds, RL ends and the verdict is made; 0: never.",
  ),
  max_invalid: z.number().min(0).max(1).default(0.5).describe(
    "Maximum share of invalid rewards in a step; above it, the run stops with the most frequent cause instead of training " +
      "on the rest.",
  ),
  difficulty: difficulty.optional().describe(
    "Train only on scenarios that the policy solves sometimes, and prefer those whose groups are likely to have a learning " +
      "signal; each family (first tag) keeps its share of every step. Default: all scenarios in turns.",
  ).meta({ examples: [{ probes: 4, keep: [0.1, 0.9] }] }),
  shuffle_rewards: z.boolean().default(false).describe("Negative control: shuffle the rewards within each step."),
  validate_every: z.int().min(0).default(0).describe("Steps between validations; 0: never."),
  validate_sampling: z.array(z.enum(["greedy", "sampled"])).min(1).optional().describe(
    "Decoding in validations; the checkpoint is chosen by the mean of them. Default: the first of `evaluate.sampling`.",
  ).meta({ examples: [["greedy", "sampled"]] }),
  choose: z.enum(["highest", "one_standard_error"]).default("highest").describe(
    "Checkpoint that becomes the tuned policy, by its success in validations: the highest, the first of equals; or the " +
      "first within one standard error of the highest, which chance favours less. The latter keeps every validated checkpoint.",
  ),
  temperature: positive().max(2).default(1).describe("Sampling temperature of training rollouts."),
  max_staleness: z.int().min(0).default(0).describe(
    "Maximum number of policy versions between the weights that sample a rollout and those that it trains. 0: strictly on-policy; above 0, rollouts, judges and optimiser overlap, and the loss corrects with the sampler's log-probabilities.",
  ),
});
