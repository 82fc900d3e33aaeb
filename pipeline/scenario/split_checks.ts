/**
 * What a verdict needs of the scenarios' splits: none that training uses too, and enough of them.
 * @module
 */
import { canonical } from "../common/json.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import { type Diagnostic, runner } from "../diagnostics/mod.ts";
import type { Json, Scenario } from "../events.ts";
import { MIN_SCENARIOS } from "../verdict/outcome.ts";

type Settings = Pick<PipelineConfig, "ladder" | "evaluate">;

/** Evaluated scenarios that are the same as training ones, where the pipeline trains and does not allow it. */
export function overlappingSplits({ ladder, evaluate }: Settings, hosted: boolean, all: Scenario[]): Diagnostic[] {
  const trains = hosted || ladder.includes("warm_start") || ladder.includes("rl");
  if (!trains || evaluate.policies.length === 0 || evaluate.allow_overlap) return [];
  const of = (wanted: Scenario["split"]) => all.filter(({ split }) => split === wanted);
  const trained = new Map(of("train").map((scenario) => [contentOf(scenario), scenario.id]));
  const pairs = of(evaluate.split).flatMap((scenario) => {
    const same = trained.get(contentOf(scenario));
    return same === undefined ? [] : [[scenario.id, same] as const];
  });
  return pairs.length > 0 ? [runner.splits_overlap(evaluate.split, pairs)] : [];
}

/** A warning, where the evaluated split has fewer scenarios than any claim needs. */
export function smallSplit({ evaluate }: Pick<Settings, "evaluate">, scenarios: Scenario[]): string | undefined {
  if (evaluate.policies.length === 0) return undefined;
  const count = scenarios.filter(({ split }) => split === evaluate.split).length;
  return count > 0 && count < MIN_SCENARIOS ? runner.split_too_small(evaluate.split, count, MIN_SCENARIOS) : undefined;
}

/** What makes two scenarios the same: the task, the initial state, and what is expected. */
function contentOf({ task, setup = {}, checks, answer = {}, calls = {}, expect = {} }: Scenario): string {
  return canonical([task.trim(), setup, checks, answer, calls, expect] as unknown as Json);
}
