/**
 * What a report shows: the verdict, the course of training, tags and sample trajectories. Plain data, made from the
 * store by `report_data.ts` and drawn by `markdown.ts` and `html.ts`.
 * @module
 */
import type { Interval } from "../../events.ts";
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
  ended_at: number | null;
}

/** One optimiser step: what the trainer said, and what the rollouts that fed it did; null where there were none. */
export interface CurvePoint {
  step: number;
  kind: "supervised" | "rl";
  loss: number | null;
  reward: number | null;
  success: number | null;
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

/** Success of each policy on the scenarios of one tag. */
export interface TagRow {
  tag: string;
  scenarios: number;
  policies: Record<string, Interval>;
}

/** One thing that happened in a sample: what the model said, or what a tool answered. */
export type SampleEvent =
  | { kind: "model"; text: string; invalid: string | null; shortened?: number }
  | { kind: "tool"; call: string; outcome: string; text: string };

/** One policy's attempt at a sample scenario. */
export interface SampleRun {
  policy: string;
  success: boolean;
  invalid: string | null;
  end: string;
  reward: number | null;
  reasons: string[];
  events: SampleEvent[];
}

/** One scenario with every policy's attempt, side by side. */
export interface Sample {
  scenario_id: string;
  task: string;
  tags: string[];
  runs: SampleRun[];
}

/** Everything that a report shows. */
export interface Report {
  run: RunFacts;
  verdict: Verdict;
  curve: CurvePoint[];
  validation: ValidationPoint[];
  tags: TagRow[];
  samples: Sample[];
}
