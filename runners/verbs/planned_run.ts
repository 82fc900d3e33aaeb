/**
 * What a run of a pipeline would do, as `validate` and `run --dry-run` show it.
 * @module
 */
import { z } from "zod";
import { cacheDir } from "../../pipeline/common/cache_dir.ts";
import { redact } from "../../pipeline/common/redact.ts";
import { visible } from "../../pipeline/common/visible.ts";
import type { LoadedPipeline } from "../../pipeline/config/pipeline_file.ts";
import { counted } from "../../pipeline/diagnostics/mod.ts";

const known_later = "; null if that is known only during the run";

/** The JSON result. */
export const planned_run = z.object({
  scenarios: z.array(z.object({
    split: z.enum(["train", "validation", "heldout"]),
    count: z.int(),
    tags: z.record(z.string(), z.int()).describe("Scenarios with each tag."),
  })).nullable().describe(`The splits that have scenarios${known_later}.`),
  phases: z.array(z.object({
    name: z.string(),
    groups: z.int().describe("Groups of rollouts."),
    rollouts: z.int().describe("Rollouts in all groups."),
    steps: z.int().describe("Optimiser steps."),
  })).nullable().describe(`The parts of the run, in order; a limit of the run may end training sooner${known_later}.`),
  judges: z.array(z.object({
    stage: z.string(),
    calls: z.int().nullable().describe(`Calls of the judge, one for each group of rollouts${known_later}.`),
    llm_calls: z.int().nullable().describe(
      "Requests to language models, at the rate of the earlier run; null without one.",
    ),
  })),
  warnings: z.array(z.string()).describe("What the run cannot do well."),
  programs: z.array(z.string()).describe("Programs that the run starts on this machine, and plugins that it loads."),
  time: z.object({
    seconds: z.number(),
    from: z.object({ run: z.string(), pipeline: z.string(), at: z.string().describe("When it ended.") })
      .describe("The run whose speed the estimate uses."),
  }).nullable().describe("Estimated duration; null if no earlier run on this machine says how long it takes."),
});

/** See the module. */
export type PlannedRun = z.output<typeof planned_run>;

/** What a run of the pipeline would do. */
export async function plannedRun(loaded: LoadedPipeline): Promise<PlannedRun> {
  // Loaded once the pipeline is known to be valid: it loads what a run needs.
  const { outlook } = await import("../../pipeline/run/progress/outlook.ts");
  return { ...await outlook(loaded, cacheDir()), programs: startedBy(loaded) };
}

/** One line each: servers' commands, plugins from files and packages, and what built-in plugins start. */
function startedBy({ programs, stages }: LoadedPipeline): string[] {
  const own = stages.flatMap(({ use, plugin: { starts } }) => starts ? [`${use}: ${starts}`] : []);
  return [...programs.map(({ shown }) => shown[0]!), ...own];
}

/** As lines of text. */
export function plannedLines({ name }: LoadedPipeline["config"], plan: PlannedRun): string[] {
  const { scenarios, phases, programs } = plan;
  const rollouts = phases?.reduce((sum, phase) => sum + phase.rollouts, 0);
  return [
    ...(scenarios
      ? [
        `scenarios: ${scenarios.reduce((sum, { count }) => sum + count, 0)}`,
        ...scenarios.map((s) => `  ${inSplit(s)}`),
      ]
      : ["scenarios: known only during the run, and so are rollouts and time"]),
    ...(phases ? [`rollouts: ${rollouts}`, ...phases.map((phase) => `  ${inPhase(phase)}`)] : []),
    `judges: ${judging(plan)}`,
    ...(programs.length > 0 ? ["programs:", ...programs.map((program) => `  ${program}`)] : []),
    ...plan.warnings.map((warning) => `warning: ${warning}`),
    ...(phases ? [`time: ${lasting(name, plan)}`] : []),
  ].map((line) => visible(redact(line)).replaceAll("\n", "\\n"));
}

/** Tags that are shown; a family each, as a rule. */
const MOST_TAGS = 12;

function inSplit({ split, count, tags }: NonNullable<PlannedRun["scenarios"]>[number]): string {
  const each = Object.entries(tags).toSorted(([, a], [, b]) => b - a).map(([tag, of]) => `${tag} ${of}`);
  const more = each.length > MOST_TAGS ? [`${each.length - MOST_TAGS} more tags`] : [];
  const shown = [...each.slice(0, MOST_TAGS), ...more];
  return `${split}: ${count}${shown.length > 0 ? ` (${shown.join(", ")})` : ""}`;
}

function inPhase({ name, groups, rollouts, steps }: NonNullable<PlannedRun["phases"]>[number]): string {
  const taken = steps > 0 ? [counted(steps, "optimiser step")] : [];
  const sampled = rollouts > groups ? [`${rollouts} rollouts in ${counted(groups, "group")}`] : [];
  const each = name === "replay" ? "reference solution" : "rollout";
  const single = rollouts > 0 && rollouts === groups ? [counted(rollouts, each)] : [];
  const hosted = name === "job" ? ["at the training service"] : [];
  return `${name}: ${[...taken, ...sampled, ...single, ...hosted].join(", ")}`;
}

function judging({ judges }: PlannedRun): string {
  return judges.map(({ stage, calls, llm_calls }) => {
    const asks = llm_calls ? `, about ${counted(llm_calls, "request")} to language models` : "";
    return calls === null ? stage : `${stage} ${counted(calls, "call")}${asks}`;
  }).join("; ");
}

function lasting(name: string, { phases, time }: PlannedRun): string {
  if (phases?.some((phase) => phase.name === "job")) return "decided by the training service";
  if (!time) return "not known: no earlier run on this machine did all of this with this model";
  const { seconds, from } = time;
  const whose = from.pipeline === name ? "" : ` of pipeline ${from.pipeline}, with the same model`;
  return `about ${inWords(seconds)}, at the speed of run ${from.run}${whose} (${from.at.slice(0, 10)})`;
}

function inWords(seconds: number): string {
  if (seconds < 90) return counted(Math.max(1, Math.round(seconds)), "second");
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return counted(minutes, "minute");
  return `${(minutes / 60).toFixed(1)} hours`;
}
