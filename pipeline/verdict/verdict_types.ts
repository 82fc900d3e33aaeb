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
  /** Calls of tools that do not exist. */
  hallucinated_tools: number;
  /** Turns that tried to call at all. */
  call_turns: number;
  prompt_tokens: number;
  output_tokens: number;
  /** Turns before which earlier tool results were shortened to fit the context. */
  shortened_turns: number;
  seconds: number;
  /** Names of the tools whose calls ended `ok`, each once, sorted. */
  tools: string[];
}

/** A figure for each number of attempts `k`. */
export interface AtAttempts extends Interval {
  k: number;
}

/** Figures per rollout that have a mean with an interval. */
export const MEAN_METRICS = [
  "turns",
  "tool_calls",
  "invalid_calls",
  "hallucinated_tools",
  "tokens",
  "prompt_tokens",
  "output_tokens",
] as const;
export type MeanMetric = typeof MEAN_METRICS[number];

/** What one policy did on the split. */
export interface PolicySummary {
  /** Share of rollouts that succeeded, under the verdict's own sampling. */
  success: Interval;
  /** The same by sampling, where evaluated. */
  greedy_success?: Interval;
  sampled_success?: Interval;
  /**
   * pass@k: how probably at least one of k attempts at a scenario succeeds, for k from 1 to the number of attempts;
   * over the scenarios with at least k counted attempts.
   */
  pass_at_k: AtAttempts[];
  /** pass^k: how probably all k attempts succeed. */
  pass_hat_k: AtAttempts[];
  /** Share of rollouts that the agent ended itself, rightly or wrongly; the others were cut off. */
  completion: Interval;
  /** Means per rollout, with intervals. */
  means: Record<MeanMetric, Interval>;
  /** Means per rollout; null where no rollout counts. */
  turns: number | null;
  tool_calls: number | null;
  invalid_calls: number | null;
  hallucinated_tools: number | null;
  /** Prompt and output tokens of all turns together. */
  tokens: number | null;
  prompt_tokens: number | null;
  output_tokens: number | null;
  /** Wall-clock; without an interval, because it measures the machine's load too. */
  seconds: number | null;
  /** Quantiles of the rollouts' wall-clock seconds; null where no rollout counts. */
  latency: { p50: number; p90: number } | null;
  /** Mean cost of a rollout's tokens in US dollars; null where the policy's price is not declared. */
  usd: number | null;
  /** Mean reward of the judged rollouts. */
  reward: Interval;
  /** Share of the turns that called which were invalid; null where no turn called. */
  invalid_call_rate: number | null;
  /** Success of the rollouts that met at least one failed or invalid call; null where none did. */
  error_recovery: Interval | null;
  /** Share of the rollouts in which earlier tool results were shortened to fit the context. */
  shortened: number | null;
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
  | "tokens";

/** The interval of a paired difference: `n` is the number of pairs, `scenarios` that of the scenarios they belong to. */
export interface PairedInterval extends Interval {
  scenarios: number;
}

/** `policy` minus `against` over the pairs that count for both. */
export interface Difference extends PairedInterval {
  policy: string;
  against: string;
}

/** A difference in one metric. */
export interface Comparison extends Difference {
  metric: Metric;
}

/** What RL did to success on validation scenarios: under the verdict's sampling, one try each. */
export interface ValidationComparison {
  scenarios: number;
  /** Success of the tuned policy and of the one that RL started from. */
  policies: Record<string, Interval>;
  /** The former minus the latter, pair by pair. */
  difference: Difference;
}

/**
 * What the verdict comes to. `not_measured`: not one rollout could be judged; `not_compared`: there is one policy only,
 * or no scenario that two policies share; `more_scenarios_needed`: what was observed may well be chance, and a feasible
 * number of scenarios would tell.
 */
export type VerdictOutcome =
  | "improved"
  | "prompting_is_enough"
  | "no_measurable_gain"
  | "more_scenarios_needed"
  | "worse"
  | "not_compared"
  | "not_measured";

/** Success on some of the scenarios, by policy and sampling, where evaluated. */
export interface Breakdown {
  scenarios: number;
  policies: Record<string, Partial<Record<Sampling, Interval>>>;
}

/** The scenarios with a tag. */
export interface TagBreakdown extends Breakdown {
  tag: string;
}

/**
 * The scenarios that take the same tools: those of the reference solution, else those of the shortest success, the
 * policies in their order. Null: neither exists.
 */
export interface ToolsBreakdown extends Breakdown {
  tools: string[] | null;
}

/** What is worse under `policy` than under `against` although it need not be worse on the whole. */
export interface Worse {
  /**
   * `scenario`: solved by `against` in all attempts and by `policy` in none; not told of single sampled attempts.
   * `tag` and `suite`: the interval of the difference, widened for the number of tags or suites (Bonferroni), lies below
   * zero.
   */
  kind: "scenario" | "tag" | "suite";
  name: string;
  /** Null for scenarios. */
  difference: PairedInterval | null;
}

/** The sample size that would show the observed difference. */
export interface NeededScenarios {
  /** Number of scenarios, as many attempts each as there were. */
  scenarios: number;
  /** Share of pairs in which exactly one of the policies succeeded. */
  discordant: number;
  /** Probability that the 95 % interval then excludes zero, if the observed rates are the true ones. */
  power: number;
}

/** A checkpoint that was evaluated on validation. */
export interface CheckpointChoice {
  policy: string;
  /** RL step, from 1. */
  step: number;
  checkpoint: string;
  /** Success, by sampling. */
  success: Partial<Record<Sampling, Interval>>;
  chosen: boolean;
}

/** Which checkpoint became the tuned policy. */
export interface CheckpointSelection {
  rule: "highest" | "one_standard_error";
  /** In order of steps. */
  checkpoints: CheckpointChoice[];
}

/** The exported policy. */
export interface ExportChoice {
  policy: string;
  /** Why it is this one, as the end of a sentence. */
  reason: string;
  /** Another policy with a nominally higher success under some sampling or on validation. */
  better_elsewhere?: string;
}

/** Requests to language models. Tokens are those of replies that did not come from the cache. */
export interface LlmCost {
  requests: number;
  cached: number;
  prompt_tokens: number;
  output_tokens: number;
  /** In US dollars; null where the price of a request is not declared. */
  usd: number | null;
}

/** What the run cost, as far as it is known. */
export interface RunCosts {
  /** Of judges and other stages, together and by stage (id). */
  llm: LlmCost;
  llm_by_stage: Record<string, LlmCost>;
  /** Hours of the trainer's steps: of its GPU, where it has one. */
  training_hours: number;
  /** Summed wall-clock hours of all rollouts, also of those that ran at the same time. */
  rollout_hours: number;
  rollouts: number;
}

/** When success first reached `evaluate.target` on validation. */
export interface TimeToTarget {
  target: number;
  /** Null: not reached. */
  reached: {
    policy: string;
    success: Interval;
    /** Since the run first started; pauses between its starts do not count. */
    seconds: number;
    /** Finished rollouts by then. */
    rollouts: number;
  } | null;
}

/** Success on a suite: scenarios beside the pipeline's own, to notice what training broke. */
export interface SuiteSummary {
  suite: string;
  scenarios: number;
  policies: Record<string, Interval>;
  difference: Difference | null;
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
  difference: Difference | null;
  /** Beside a held-out verdict, where it was measured: tells what RL learned from what carries over. */
  validation?: ValidationComparison;
  outcome: VerdictOutcome;
  /** Where the difference is not measurable; null where it is, or where nothing was observed. */
  needed_scenarios: NeededScenarios | null;
  /** In alphabetical order. */
  by_tag: TagBreakdown[];
  /** In a fixed order. */
  by_tools: ToolsBreakdown[];
  /** Of the difference's policies. */
  worse: Worse[];
  /** Success of doing nothing, and the scenarios that it satisfies; the policy `nothing`. */
  floor?: { success: Interval; satisfied: string[] };
  /** Success of the reference solutions, and the scenarios that they do not solve; the policy `reference`. */
  ceiling?: { success: Interval; unsolved: string[] };
  suites?: SuiteSummary[];
  /** Where checkpoints were evaluated during RL. */
  selection?: CheckpointSelection;
  export?: ExportChoice;
  costs?: RunCosts;
  /** Where `evaluate.target` is set. */
  time_to_target?: TimeToTarget;
  sentence: string;
  /** Caveats about the figures. */
  notes: string[];
}

/** What the verdict knows beside the rollouts. */
export interface Beside {
  run_id?: string;
  /** Rollouts on the validation split. */
  validation?: readonly EvaluatedRollout[];
  /** By id; the tools of the reference solution, where there is one. */
  scenarios?: ReadonlyMap<string, { tags: readonly string[]; tools?: readonly string[] }>;
  facts?: Pick<Verdict, "suites" | "selection" | "costs" | "time_to_target">;
  /** The policy that the run exports. */
  exported?: string;
}

/** Price of a policy's tokens in US dollars. */
export interface TokenPrice {
  input_per_million: number;
  output_per_million: number;
}

/** What the sentence and the outcome are made from. */
export type Findings = Omit<Verdict, "schema" | "run" | "run_id" | "sentence" | "notes">;

/** What the verdict needs of the pipeline's configuration. */
export interface VerdictConfig {
  name: string;
  seed: number;
  evaluate: {
    policies: readonly string[];
    split: Split;
    tries: number;
    sampling: readonly Sampling[];
    target?: number;
    export?: "tuned" | "best_on_validation";
  };
  /** By policy, where declared. */
  prices?: Readonly<Record<string, TokenPrice>>;
  train?: { choose?: CheckpointSelection["rule"] };
}

/** What the verdict needs of the store, or of the process that holds it: rows of a query without parameters. */
export interface Queryable {
  query(sql: string): Promise<Record<string, unknown>[]>;
}
