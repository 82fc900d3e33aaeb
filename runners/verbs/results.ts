/**
 * Schemas of results that several verbs share: problems and the verdict.
 * @module
 */
import { z } from "zod";
import type { Diagnostic } from "../../pipeline/diagnostics/mod.ts";
import {
  type Comparison,
  MEAN_METRICS,
  type PolicySummary,
  type Verdict,
} from "../../pipeline/verdict/verdict_types.ts";

/** A problem and its place. */
export const diagnostic: z.ZodType<Diagnostic> = z.object({
  code: z.string().describe("Stable code of the problem, such as FILE_NOT_FOUND."),
  message: z.string(),
  hint: z.string().optional().describe("What to do next."),
  file: z.string().optional(),
  line: z.int().optional().describe("From 1."),
  col: z.int().optional().describe("From 1."),
  frame: z.string().optional().describe("The line of the file, with a caret below the position."),
});

/** Fields of a mean with its interval. */
export const interval_fields = {
  mean: z.number(),
  low: z.number().describe("Lower end of the 95 % interval."),
  high: z.number().describe("Upper end of the 95 % interval."),
  n: z.int().describe("Number of rollouts, or of pairs of them."),
};
const interval = z.object(interval_fields);
const at_attempts = z.object({ k: z.int().describe("Number of attempts."), ...interval_fields });
const by_sampling = z.partialRecord(z.enum(["greedy", "sampled"]), interval);

/** Fields of one policy's results on a split; means are per rollout. */
export const policy_fields = {
  success: interval.describe("Success rate of the rollouts, with the verdict's sampling."),
  greedy_success: interval.optional(),
  sampled_success: interval.optional(),
  pass_at_k: z.array(at_attempts).describe("pass@k: at least one of k attempts at a scenario succeeds."),
  pass_hat_k: z.array(at_attempts).describe("pass^k: all k attempts at a scenario succeed."),
  completion: interval.describe("Share of rollouts that the agent ended itself, rightly or wrongly."),
  means: z.record(z.enum(MEAN_METRICS), interval).describe("The means below that have intervals."),
  turns: z.number().nullable(),
  tool_calls: z.number().nullable(),
  invalid_calls: z.number().nullable(),
  hallucinated_tools: z.number().nullable().describe("Calls of tools that do not exist."),
  tokens: z.number().nullable().describe("Total prompt and output tokens of all turns."),
  prompt_tokens: z.number().nullable(),
  output_tokens: z.number().nullable(),
  seconds: z.number().nullable().describe("Wall-clock; it measures the machine's load too."),
  latency: z.object({ p50: z.number(), p90: z.number() }).nullable().describe("Quantiles of the seconds."),
  usd: z.number().nullable().describe("Cost of the tokens; null if the policy's price is not declared."),
  reward: interval.describe("Mean over the judged rollouts."),
  invalid_call_rate: z.number().nullable().describe("Share of the turns with calls; null if there are none."),
  error_recovery: interval.nullable().describe(
    "Success rate of the rollouts in which a call failed; null if there are none.",
  ),
  shortened: z.number().nullable().describe(
    "Share of rollouts in which earlier tool results were shortened to fit the context.",
  ),
  rollouts: z.object({
    total: z.int(),
    counted: z.int(),
    excluded: z.record(z.string(), z.int()).describe("Rollouts that say nothing about the policy, by cause."),
  }),
  failures: z.record(z.string(), z.int()).describe("Counted rollouts that did not succeed, by cause."),
};
const policy: z.ZodType<PolicySummary> = z.object(policy_fields);

const paired_fields = {
  ...interval_fields,
  scenarios: z.int().describe("Number of scenarios that the pairs belong to."),
};
const difference = z.object({ policy: z.string(), against: z.string(), ...paired_fields });
const comparison: z.ZodType<Comparison> = difference.extend({
  metric: z.enum(["success", "greedy_success", "sampled_success", "turns", "tool_calls", "invalid_calls", "tokens"]),
});

const breakdown = { scenarios: z.int(), policies: z.record(z.string(), by_sampling) };

const llm_cost = z.object({
  requests: z.int(),
  cached: z.int(),
  prompt_tokens: z.int(),
  output_tokens: z.int(),
  usd: z.number().nullable().describe("Null if a price is not declared."),
});

/** Fields that a verdict has where they apply. */
const further_fields = {
  floor: z.object({ success: interval, satisfied: z.array(z.string()) }).optional()
    .describe("Success of doing nothing, and the scenarios that it satisfies."),
  ceiling: z.object({ success: interval, unsolved: z.array(z.string()) }).optional()
    .describe("Success of the reference solutions, and the scenarios that they do not solve."),
  suites: z.array(
    z.object({
      suite: z.string(),
      scenarios: z.int(),
      policies: z.record(z.string(), interval),
      difference: difference.nullable(),
    }),
  ).optional().describe("Success on scenarios beside the pipeline's own."),
  selection: z.object({
    rule: z.enum(["highest", "one_standard_error"]),
    checkpoints: z.array(z.object({
      policy: z.string(),
      step: z.int(),
      checkpoint: z.string(),
      success: by_sampling,
      chosen: z.boolean(),
    })),
  }).optional().describe(
    "The checkpoints that were evaluated on validation, and the one that became the tuned policy.",
  ),
  export: z.object({ policy: z.string(), reason: z.string(), better_elsewhere: z.string().optional() }).optional()
    .describe("The exported policy."),
  costs: z.object({
    llm: llm_cost.describe("Requests of judges and other stages to language models."),
    llm_by_stage: z.record(z.string(), llm_cost),
    training_hours: z.number().describe("Time of the trainer's steps: of its GPU, if it has one."),
    rollout_hours: z.number().describe("Summed time of all rollouts, also of concurrent ones."),
    rollouts: z.int(),
  }).optional().describe("What the run cost, as far as it is known."),
  time_to_target: z.object({
    target: z.number(),
    reached: z.object({ policy: z.string(), success: interval, seconds: z.number(), rollouts: z.int() }).nullable(),
  }).optional().describe("When success first reached `evaluate.target` on validation."),
};

/** The evaluated scenarios, and how they were attempted. */
export const measured_fields = {
  split: z.enum(["train", "validation", "heldout"]),
  sampling: z.enum(["greedy", "sampled"]),
  scenarios: z.int(),
  tries: z.int().describe("Attempts per scenario."),
};

/** The verdict of a run, as in its `verdict.json`. */
export const verdict: z.ZodType<Verdict> = z.object({
  schema: z.literal("verdict.v1"),
  run: z.string().describe("Name of the pipeline."),
  run_id: z.string().describe("Id of the run."),
  ...measured_fields,
  policies: z.record(z.string(), policy),
  comparisons: z.array(comparison).describe("`policy` minus `against`, over the pairs counted for both."),
  difference: difference.nullable()
    .describe("Success of the last policy minus that of the first; null if only one was evaluated."),
  validation: z.object({
    scenarios: z.int(),
    policies: z.record(z.string(), interval).describe("Success rate of the policies after and before RL."),
    difference,
  }).optional().describe("What RL did on validation scenarios, measured beside a held-out verdict."),
  outcome: z.enum([
    "improved",
    "prompting_is_enough",
    "no_measurable_gain",
    "more_scenarios_needed",
    "worse",
    "not_compared",
    "not_measured",
  ]).describe("The verdict in a word."),
  needed_scenarios: z.object({
    scenarios: z.int(),
    discordant: z.number().describe("Share of pairs in which exactly one policy succeeded."),
    power: z.number(),
  }).nullable().describe("The number of scenarios that would show the observed difference, if these do not."),
  by_tag: z.array(z.object({ tag: z.string(), ...breakdown })),
  by_tools: z.array(z.object({ tools: z.array(z.string()).nullable(), ...breakdown })).describe(
    "By the tools of the reference solution or else of the shortest success; null if there is neither.",
  ),
  worse: z.array(z.object({
    kind: z.enum(["scenario", "tag", "suite"]),
    name: z.string(),
    difference: z.object(paired_fields).nullable(),
  })).describe("What the difference's policy does worse, whatever its success on the whole."),
  ...further_fields,
  sentence: z.string().describe("The verdict in words."),
  notes: z.array(z.string()).describe("Caveats about the figures."),
});
