/**
 * Schemas of results that several verbs share: problems and the verdict.
 * @module
 */
import { z } from "zod";
import type { Diagnostic } from "../../pipeline/diagnostics/mod.ts";
import type { Comparison, PolicySummary, Verdict } from "../../pipeline/verdict/verdict_types.ts";

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

/** Fields of one policy's results on a split; means are per rollout. */
export const policy_fields = {
  success: interval.describe("Success rate of the rollouts, with the verdict's sampling."),
  greedy_success: interval.optional(),
  sampled_success: interval.optional(),
  turns: z.number(),
  tool_calls: z.number(),
  invalid_calls: z.number(),
  tokens: z.number().describe("Total prompt and output tokens of all turns."),
  output_tokens: z.number(),
  seconds: z.number(),
  reward: interval.describe("Mean over the judged rollouts."),
  invalid_call_rate: z.number().nullable().describe("Share of the turns with calls; null if there are none."),
  error_recovery: interval.nullable().describe(
    "Success rate of the rollouts in which a call failed; null if there are none.",
  ),
  shortened: z.number().describe("Share of rollouts in which earlier tool results were shortened to fit the context."),
  rollouts: z.object({
    total: z.int(),
    counted: z.int(),
    excluded: z.record(z.string(), z.int()).describe("Rollouts that say nothing about the policy, by cause."),
  }),
  failures: z.record(z.string(), z.int()).describe("Counted rollouts that did not succeed, by cause."),
};
const policy: z.ZodType<PolicySummary> = z.object(policy_fields);

const comparison: z.ZodType<Comparison> = z.object({
  policy: z.string(),
  against: z.string(),
  metric: z.enum([
    "success",
    "greedy_success",
    "sampled_success",
    "turns",
    "tool_calls",
    "invalid_calls",
    "tokens",
    "seconds",
  ]),
  ...interval_fields,
});

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
  difference: z.object({ policy: z.string(), against: z.string(), ...interval_fields }).nullable()
    .describe("Success of the last policy minus that of the first; null if only one was evaluated."),
  validation: z.object({
    scenarios: z.int(),
    policies: z.record(z.string(), interval).describe("Success rate of the policies after and before RL."),
    difference: z.object({ policy: z.string(), against: z.string(), ...interval_fields }),
  }).optional().describe("What RL did on validation scenarios, measured beside a held-out verdict."),
  sentence: z.string().describe("The verdict in words."),
  notes: z.array(z.string()).describe("Caveats about the figures."),
});
