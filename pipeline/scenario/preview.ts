/**
 * Checks of a pipeline's scenarios before any server is started or role created: reads the scenarios of the sources
 * that support it, checks the judges' parts, and checks that the required splits are present.
 * @module
 */
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import { type Diagnostic, HoneError, messageOf, runner } from "../diagnostics/mod.ts";
import type { Scenario } from "../events.ts";
import type { Plugin, PreviewArgs } from "../plugin.ts";
import { searchesPrompt } from "../run/prompting/extent.ts";

/** A stage with valid settings. */
export interface Ready {
  index: number;
  id: string;
  use: string;
  plugin: Plugin;
  with: unknown;
}

/** The result. Problems without a file concern their stage. */
export interface Preview {
  problems: { index: number; diagnostic: Diagnostic }[];
  /** All scenarios, or undefined if a source does not support previews or has problems. */
  scenarios: Scenario[] | undefined;
}

/** Reads the sources' scenarios and reports problems in them. */
export async function previewScenarios(stages: Ready[], args: PreviewArgs): Promise<Preview> {
  const found: Preview = { problems: [], scenarios: [] };
  for (const { index, id, use, plugin, with: config } of stages) {
    if (plugin.kind !== "scenario-source") continue;
    let scenarios: Scenario[] | undefined;
    try {
      scenarios = await plugin.preview?.(config, args);
    } catch (error) {
      found.problems.push(...said(id, use, error).map((diagnostic) => ({ index, diagnostic })));
    }
    found.scenarios = scenarios && found.scenarios && [...found.scenarios, ...scenarios];
  }
  return found;
}

function said(id: string, use: string, error: unknown): Diagnostic[] {
  if (error instanceof HoneError) return error.diagnostics;
  return [runner.stage_failed(id, use, messageOf(error), undefined)];
}

/** Splits that the pipeline needs and no source provides. */
export function missingSplits(
  config: Pick<PipelineConfig, "ladder" | "agent" | "evaluate" | "prompt" | "train">,
  scenarios: Scenario[],
): Diagnostic[] {
  const { ladder, evaluate, train } = config;
  const has = (wanted: string) => scenarios.some(({ split }) => split === wanted);
  const problems: Diagnostic[] = [];
  if (evaluate.policies.length > 0 && !has(evaluate.split)) {
    problems.push(runner.no_scenarios(evaluate.split, "evaluate"));
  }
  if ((ladder.includes("warm_start") || ladder.includes("rl")) && !has("train")) {
    problems.push(runner.no_scenarios("train", "train"));
  }
  if (searchesPrompt(config) && !has("train")) {
    problems.push(runner.no_scenarios("train", "search for a prompt (without `agent.examples`)"));
  }
  if (ladder.includes("rl") && train.validate_every > 0 && !has("validation")) {
    problems.push(runner.no_scenarios("validation", "choose checkpoints (`train.validate_every`)"));
  }
  return problems;
}
