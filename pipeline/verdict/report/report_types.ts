/**
 * What a report shows: the verdict, the course of training, what went wrong and sample trajectories. Plain data, made
 * from the store by `report_data.ts` and drawn by `markdown.ts` and `html.ts`.
 * @module
 */
import type { Interval, Machine } from "../../events.ts";
import type { Verdict } from "../verdict_types.ts";

/** The run as its report names it. */
export interface RunFacts {
  id: string;
  name: string;
  seed: number;
  hone_version: string;
  /** `running` while there is no closing record. */
  status: string;
  /** Milliseconds since the epoch. */
  started_at: number | null;
  /** Minutes in which it ran; pauses between its starts do not count. Null if nothing is recorded. */
  minutes: number | null;
  /** How each start before the last one ended; `killed` if that is not recorded. */
  interruptions: string[];
}

/** What the run ran with, as it is recorded and in the run's own pipeline.yaml. */
export interface Setup {
  servers: { name: string; implementation: string; version: string; transport: string; protocol: string }[];
  /** Of the last start; null where it is not recorded. */
  machine: Machine | null;
  /** Settings by name, in the order in which they are shown; empty if pipeline.yaml cannot be read. */
  settings: [name: string, value: string][];
  /** Verified demonstrations: replayed reference solutions that succeeded. */
  demonstrations: number;
}

/** A value between the ends of its 95 % interval, which are absent where there is none. */
export interface Point {
  x: number;
  y: number;
  low?: number;
  high?: number;
}

/** One optimiser step: what the trainer said, and what the rollouts that fed it did; null where there were none. */
export interface CurvePoint {
  step: number;
  kind: "supervised" | "rl";
  loss: number | null;
  /** Mean of the groups' means, with its interval over the groups. */
  reward: Interval | null;
  /** Share of the judged rollouts, with Wilson's interval, as if they were independent. */
  success: Interval | null;
  /** Share of calling turns that were invalid. */
  invalid_calls: number | null;
  rollouts: number;
  seconds: number | null;
}

/** Success on the validation split at one policy version. */
export interface ValidationPoint {
  policy: string;
  version: number;
  success: Interval;
}

/** Rollouts of one policy that failed in the same way. */
export interface FailureCluster {
  policy: string;
  outcome: string;
  /** What went wrong, with quoted texts, paths and numbers masked. */
  pattern: string;
  rollouts: number;
  scenarios: number;
  tags: string[];
  example_scenario: string;
  /** The same as `pattern` in one rollout, unmasked. */
  example: string;
}

/** Failed rollouts whose first wrong call was of `taken` in place of `expected`. */
export interface Confusion {
  expected: string;
  /** Null: no call. */
  taken: string | null;
  /** Number of rollouts by policy. */
  policies: Record<string, number>;
  example_scenario: string;
}

/** One figure of the learning signal, and what to do about it. */
export interface HealthCheck {
  name: string;
  state: "ok" | "watch" | "act";
  figure: string;
  /** What it means, as a sentence. */
  meaning: string;
  /** What to change, as a sentence; empty where nothing needs to be done. */
  action: string;
}

/** What the run spent on one thing. */
export interface Cost {
  spent_on: string;
  times: number;
  seconds: number;
  prompt_tokens: number | null;
  output_tokens: number | null;
  /** US dollars; null without a price. */
  usd: number | null;
}

/** One thing that happened in a sample: what the model said, or what a tool answered. */
export type SampleEvent =
  | { kind: "model"; text: string; invalid: string | null; shortened?: number }
  | { kind: "tool"; call: string; outcome: string; text: string };

/** One policy's attempt at a sample scenario. */
export interface SampleRun {
  rollout_id: string;
  policy: string;
  success: boolean;
  invalid: string | null;
  end: string;
  reward: number | null;
  reasons: string[];
  events: SampleEvent[];
}

/** What became of a scenario from the policy that is compared against to the one that is compared. */
export type SampleKind = "gained" | "lost" | "both failed" | "both solved" | "other";

/** One scenario with every policy's attempt, side by side. */
export interface Sample {
  scenario_id: string;
  kind: SampleKind;
  task: string;
  tags: string[];
  runs: SampleRun[];
}

/** Everything that a report shows. */
export interface Report {
  run: RunFacts;
  setup: Setup;
  verdict: Verdict;
  curve: CurvePoint[];
  validation: ValidationPoint[];
  health: HealthCheck[];
  failures: FailureCluster[];
  confusion: Confusion[];
  samples: Sample[];
  costs: Cost[];
}
