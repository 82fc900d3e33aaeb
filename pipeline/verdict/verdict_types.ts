/**
 * The verdict and what it is made of: plain JSON, the shape of `verdict.json`. Means are per rollout, proportions lie
 * in [0, 1], intervals are 95 % ones, seconds are wall-clock.
 * @module
 */
import type { Interval, Split } from "../events.ts";

/** How a rollout was sampled: `greedy` is temperature 0. */
export type Sampling = "greedy" | "sampled";

/** One evaluation rollout as the verdict needs it; read from the store. */
export interface EvaluatedRollout {
  rollout_id: string;
  policy: string;
  scenario_id: string;
  try: number;
  sampling: Sampling;
  /** `Outcome.end`, or `unfinished` where the rollout has no closing record. */
  end: string;
  success: boolean;
  reward: number | null;
  /** Why this rollout says nothing about the policy, or null if it is counted. */
  invalid: string | null;
  turns: number;
  tool_calls: number;
  /** Tool calls that did not end `ok`. */
  failed_calls: number;
  /** Turns whose text could not be read as a call, or whose call named no tool or did not fit its schema. */
  invalid_calls: number;
  /** Turns that tried to call at all. */
  call_turns: number;
  prompt_tokens: number;
  output_tokens: number;
  /** Turns before which earlier tool results were shortened to fit the context. */
  shortened_turns: number;
  seconds: number;
}

/** What one policy did on the split. */
export interface PolicySummary {
  /** Share of rollouts that succeeded, under the verdict's own sampling. */
  success: Interval;
  /** The same by sampling, where evaluated. */
  greedy_success?: Interval;
  sampled_success?: Interval;
  /** Means per rollout. */
  turns: number;
  tool_calls: number;
  invalid_calls: number;
  /** Prompt and output tokens of all turns together. */
  tokens: number;
  output_tokens: number;
  seconds: number;
  /** Mean reward of the judged rollouts. */
  reward: Interval;
  /** Share of the turns that called which were invalid; null where no turn called. */
  invalid_call_rate: number | null;
  /** Success of the rollouts that met at least one failed or invalid call; null where none did. */
  error_recovery: Interval | null;
  /** Share of the rollouts in which earlier tool results were shortened to fit the context. */
  shortened: number;
  /** Requested rollouts, counted ones, and excluded ones by cause. */
  rollouts: { total: number; counted: number; excluded: Record<string, number> };
  /** Rollouts that count and did not succeed, by cause. */
  failures: Record<string, number>;
}

/** Metrics that are compared pair by pair. */
export type Metric =
  | "success"
  | "greedy_success"
  | "sampled_success"
  | "turns"
  | "tool_calls"
  | "invalid_calls"
  | "tokens"
  | "seconds";

/** `policy` minus `against` over the pairs that count for both; `n` is the number of pairs. */
export interface Comparison extends Interval {
  policy: string;
  against: string;
  metric: Metric;
}

/** What RL did to success on validation scenarios: under the verdict's sampling, one try each. */
export interface ValidationComparison {
  scenarios: number;
  /** Success of the tuned policy and of the one that RL started from. */
  policies: Record<string, Interval>;
  /** The former minus the latter, pair by pair. */
  difference: Interval & { policy: string; against: string };
}

/** The closing comparison of a run. */
export interface Verdict {
  schema: "verdict.v1";
  /** Name of the pipeline. */
  run: string;
  /** The run's id. */
  run_id: string;
  split: Split;
  sampling: Sampling;
  scenarios: number;
  tries: number;
  policies: Record<string, PolicySummary>;
  comparisons: Comparison[];
  /** Success of `tuned` against `base` (or the last policy against the first); null where only one was evaluated. */
  difference: (Interval & { policy: string; against: string }) | null;
  /** Beside a held-out verdict, where it was measured: tells what RL learned from what carries over. */
  validation?: ValidationComparison;
  sentence: string;
  /** Caveats about the figures. */
  notes: string[];
}

/** What the verdict needs of the pipeline's configuration. */
export interface VerdictConfig {
  name: string;
  seed: number;
  evaluate: { policies: readonly string[]; split: Split; tries: number; sampling: readonly Sampling[] };
}

/** What the verdict needs of the store, or of the process that holds it: rows of a query without parameters. */
export interface Queryable {
  query(sql: string): Promise<Record<string, unknown>[]>;
}
