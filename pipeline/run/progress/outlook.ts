/**
 * What a run of a pipeline would do, as far as that is known before it starts: its scenarios, its phases with their
 * rollouts and steps, the calls of its judges, and its duration at the speed of earlier runs.
 * @module
 */
import type { LoadedPipeline } from "../../config/pipeline_file.ts";
import type { Scenario, Split } from "../../events.ts";
import { smallSplit } from "../../scenario/split_checks.ts";
import { earlierRun, speedsOf } from "./earlier_speeds.ts";
import { Forecast, type Phase } from "./forecast.ts";
import { ladderPhases } from "./phases.ts";

/** See the module. `null` where it is known only during the run. */
export interface Outlook {
  scenarios: { split: Split; count: number; tags: Record<string, number> }[] | null;
  phases: OutlookPhase[] | null;
  judges: {
    stage: string;
    /** Calls, one for each group of rollouts. */
    calls: number | null;
    /** Requests to language models, at the rate of the earlier run. */
    llm_calls: number | null;
  }[];
  time: OutlookTime | null;
  /** What the run cannot do well, one sentence each. */
  warnings: string[];
}

/** A part of the run. */
export interface OutlookPhase {
  name: string;
  groups: number;
  /** Rollouts in all groups. */
  rollouts: number;
  /** Optimiser steps. */
  steps: number;
}

/** How long the run takes. */
export interface OutlookTime {
  seconds: number;
  /** The run whose speed the estimate uses, and its pipeline: this one, or another one with the same model. */
  from: { run: string; pipeline: string; at: string };
}

const SPLITS: Split[] = ["train", "validation", "heldout"];

/** What a run of the pipeline would do; the speeds of earlier runs are in hone's cache. */
export async function outlook(loaded: LoadedPipeline, cache_dir: string): Promise<Outlook> {
  const { scenarios } = loaded;
  const phases = scenarios ? [...phasesOf(loaded, scenarios), ...suitePhases(loaded)] : null;
  const earlier = await earlierRun(loaded.config, cache_dir);
  const groups = (wanted: (phase: Phase) => boolean) =>
    phases && sum(phases.filter(wanted), ({ groups }) => groups?.count ?? 0);
  const judges = loaded.stages.filter(({ plugin }) => plugin.kind === "judge").map(({ id, scale }) => {
    const calls = groups(({ kind }) => scale !== "relative" || kind === "rl");
    const rate = earlier?.llm_calls[id];
    return { stage: id, calls, llm_calls: calls === null || rate === undefined ? null : Math.round(rate * calls) };
  });
  return {
    scenarios: scenarios ? bySplit(scenarios) : null,
    warnings: [scenarios && smallSplit(loaded.config, scenarios)].flatMap((warning) => warning ?? []),
    phases: phases && phases.filter(isShown).map(inNumbers),
    judges,
    time: phases && earlier && timeOf(loaded, phases, earlier),
  };
}

function phasesOf({ config, hosted, stages }: LoadedPipeline, scenarios: Scenario[]): Phase[] {
  return ladderPhases({
    config,
    scenarios,
    agent: { examples: config.agent.examples.map(({ user }) => ({ role: "user", content: user })) },
    hosted: hosted || null,
    recorded: { step: 0, supervised_steps: 0, policies: new Map(), evaluations: new Map(), prompts: new Map() },
    roles: { exporters: stages.filter(({ plugin }) => plugin.kind === "exporter") },
  });
}

/** The suites, whose scenarios are known. */
function suitePhases({ config, suites = {} }: LoadedPipeline): Phase[] {
  return Object.entries(suites).flatMap(([name, suite]) => {
    const scenarios = (suite.scenarios ?? []).filter(({ split }) => split === suite.config.evaluate.split);
    const { sampling, tries } = suite.config.evaluate;
    const groups = { count: scenarios.length * config.evaluate.policies.length * sampling.length, size: tries };
    const units = groups.count * groups.size;
    return [{ name: `suite ${name}`, kind: "rollout" as const, counts: "rollouts" as const, units, groups }];
  });
}

/** Everything but the closing phases, which every run has, and those without work. */
function isShown({ kind, units }: Phase): boolean {
  return units > 0 && kind !== "verdict" && kind !== "export";
}

function inNumbers({ name, kind, units, groups = { count: 0, size: 0 } }: Phase): OutlookPhase {
  const steps = kind === "supervised" || kind === "rl" ? units : 0;
  return { name, groups: groups.count, rollouts: groups.count * groups.size, steps };
}

function timeOf(
  { config }: LoadedPipeline,
  phases: Phase[],
  earlier: NonNullable<Awaited<ReturnType<typeof earlierRun>>>,
): OutlookTime | null {
  const { opening_secs, run, pipeline, at } = earlier;
  const forecast = new Forecast(() => 0);
  forecast.plan(phases, speedsOf(earlier, config));
  const left = forecast.left(0, (config.limits.wall_clock_secs ?? Infinity) - opening_secs);
  return left === null ? null : { seconds: opening_secs + left, from: { run, pipeline, at } };
}

function bySplit(scenarios: Scenario[]): NonNullable<Outlook["scenarios"]> {
  return SPLITS.map((split) => {
    const those = scenarios.filter((scenario) => scenario.split === split);
    const tags = new Map<string, number>();
    for (const tag of those.flatMap((scenario) => [...new Set(scenario.tags)])) tags.set(tag, (tags.get(tag) ?? 0) + 1);
    return { split, count: those.length, tags: Object.fromEntries(tags) };
  }).filter(({ count }) => count > 0);
}

function sum<T>(items: T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
