/**
 * evaluation.requested → group.requested, one for each scenario of the split → (rollouts, judges, rewards) →
 * evaluation.completed. Evaluates a policy with the same rollout plugin and judges as training. Only validation results
 * influence training. A recorded evaluation is answered from the record, unless its rewards would now be others.
 * @module
 */
import type { Out } from "../../bus.ts";
import { stream } from "../../common/random.ts";
import type { PipelineConfig } from "../../config/pipeline_schema.ts";
import type { EvaluationTarget, EventMap, Scenario } from "../../events.ts";
import { evaluationKey, rewardMakers } from "../../store/recorded.ts";
import { success as successOf } from "../../verdict/mod.ts";
import type { Bound } from "../bindings.ts";
import type { Judged, Run } from "../context.ts";
import { rewardMaker } from "../made_by.ts";
import { inTurns } from "../online/scenario_draw.ts";

/** Policies that the ladder makes: while it trains, it keeps the time that evaluating the last of them takes. */
export const LADDER: readonly string[] = ["base", "prompt", "warm_start", "tuned"];

/** Sampling of an evaluation. */
export type Sampling = "greedy" | "sampled";

/** The temperature of an evaluation. */
export function temperatureOf({ config }: Pick<Run, "config">, sampling: Sampling): number {
  return sampling === "greedy" ? 0 : config.agent.temperature;
}

/** The phase of a policy's evaluation in the run's forecast; it names the split if it is not the verdict's. */
export function evaluationPhase(
  { config }: Pick<Run, "config">,
  policy: string,
  { split, sampling }: Pick<Measurement, "split" | "sampling">,
): string {
  return ["evaluate", policy, ...(split === config.evaluate.split ? [] : ["on", split]), sampling].join(" ");
}

/** The phase of the search for a prompt. */
export const SEARCH_PHASE = "prompt search";

/** One evaluation of a policy. */
export interface Measurement {
  split: EvaluationTarget["split"];
  sampling: Sampling;
  /** Of `sampled`. Default: that of the agent. */
  temperature?: number;
  tries: number;
  /** Number of scenarios; fewer than the split has are a fair sample. */
  scenarios: number;
}

/** The evaluations of a policy that the verdict needs, in order; none if it does not compare the policy. */
export function measurementsOf(run: Pick<Run, "config" | "scenarios">, policy: string): Measurement[] {
  const { policies, split, tries, sampling, validation_scenarios } = run.config.evaluate;
  if (!policies.some((name) => name === policy)) return [];
  const count = attempted(run, policy, split).length;
  if (count === 0) return [];
  // What is replayed does not depend on the sampling.
  const modes = isReplayed(policy) ? sampling.slice(0, 1) : sampling;
  const closing = modes.map((mode) => ({ split, sampling: mode, tries, scenarios: count }));
  const scenarios = Math.min(validation_scenarios, ofSplit(run, "validation").length);
  if (scenarios === 0 || !aroundRl(run.config).includes(policy)) return closing;
  return [...closing, { split: "validation", sampling: sampling[0]!, tries: 1, scenarios }];
}

/** The policies before and after RL, if the verdict compares both on held-out scenarios. */
function aroundRl({ ladder, evaluate }: Pick<PipelineConfig, "ladder" | "evaluate">): string[] {
  if (!ladder.includes("rl") || evaluate.split !== "heldout") return [];
  const both = [ladder.includes("warm_start") ? "warm_start" : "base", "tuned"] as const;
  return both.every((policy) => evaluate.policies.includes(policy)) ? [...both] : [];
}

/** Whether a policy is no model: its calls are given. */
function isReplayed(policy: string): boolean {
  return policy === "nothing" || policy === "reference";
}

/** The scenarios of a split that a policy can attempt: `reference` only those with a solution. */
function attempted(run: Pick<Run, "scenarios">, policy: string, split: Scenario["split"]): Scenario[] {
  return ofSplit(run, split).filter(({ solution }) => policy !== "reference" || solution);
}

function ofSplit({ scenarios }: Pick<Run, "scenarios">, wanted: Scenario["split"]): Scenario[] {
  return scenarios.filter(({ split }) => split === wanted);
}

/** The request for an evaluation of a policy, by default on all scenarios of the split. */
export function evaluation(
  run: Run,
  policy: string,
  { split, tries, sampling, temperature = temperatureOf(run, sampling), scenarios = ofSplit(run, split).length }:
    & Omit<Measurement, "scenarios">
    & Partial<Pick<Measurement, "scenarios">>,
): EventMap["evaluation.requested"] {
  const policy_version = run.policies.get(policy)?.version ?? run.recorded.policies.get(policy)?.version ?? 0;
  return { policy, policy_version, split, temperature, scenarios, tries };
}

/** An evaluation in progress. */
interface Measuring {
  request: EventMap["evaluation.requested"];
  began: number;
  missing: number;
  judged: Judged[];
}

/** Binds evaluations. */
export function bind(run: Run): Bound[] {
  const open = new Map<string, Measuring>();
  const measured = new Map<string, number>();
  return [{
    stage: "measure",
    on: {
      "evaluation.requested": async ({ data }, out) => {
        const known = run.recorded.evaluations.get(evaluationKey(data));
        if (known && await stands(run, data)) return await out.deliver("evaluation.completed", known, true);
        open.set(evaluationKey(data), { request: data, began: performance.now(), missing: data.scenarios, judged: [] });
        await requestGroups(run, data, out);
      },
      "group.rewarded": async ({ data: { group_id, purpose } }, out) => {
        if (purpose !== "evaluation") return;
        const { request, judged } = run.groups.get(group_id)!;
        run.groups.delete(group_id);
        const measuring = open.get(evaluationKey(request))!;
        measuring.judged.push(...judged!);
        if (--measuring.missing > 0) return;
        open.delete(evaluationKey(request));
        const secs = await complete(run, measuring, out);
        if (!LADDER.includes(request.policy) || request.split === "train") return;
        const total = (measured.get(request.policy) ?? 0) + secs;
        measured.set(request.policy, total);
        run.measuring_secs = Math.max(run.measuring_secs, total);
      },
    },
  }];
}

/** Whether all rewards of a recorded evaluation are those that this run's stages would make of its scenarios. */
export async function stands(run: Run, recorded: EvaluationTarget): Promise<boolean> {
  const makers = await rewardMakers(run.store, recorded);
  return run.scenarios.filter(({ split }) => split === recorded.split).every((scenario) => {
    const made_by = rewardMaker(run, scenario);
    return [...makers.get(scenario.id) ?? []].every((maker) => maker === null || maker === made_by);
  });
}

async function requestGroups(run: Run, request: EventMap["evaluation.requested"], { publish }: Out) {
  const { scenarios: count, tries, ids, ...ref } = request;
  const { policy, split, temperature } = ref;
  const sampling = temperature === 0 ? "greedy" : "sampled";
  const phase = ofTrainingStep(policy)
    ? "validation"
    : ofPromptSearch(request)
    ? SEARCH_PHASE
    : evaluationPhase(run, policy, { split, sampling });
  run.progress.begin(`evaluate ${policy} (${split}, ${sampling})`, count * tries, { phase });
  const all = attempted(run, policy, split);
  const wanted = ids
    ? all.filter(({ id }) => ids.includes(id))
    : count < all.length
    ? inTurns(all, stream(run.config.seed, `measure ${split}`)).slice(0, count)
    : all;
  for (const [index, { id }] of wanted.entries()) {
    const group_id = `eval-${policy}-${split}-${sampling}-${id}`;
    const purpose = "evaluation";
    await publish("group.requested", { group_id, scenario_id: id, purpose, ...ref, step: -1, index, size: tries });
  }
}

/** Whether an evaluation is one of the search for a prompt. */
function ofPromptSearch({ policy, split }: Pick<EvaluationTarget, "policy" | "split">): boolean {
  return policy === "reference" && split === "train" || /^prompt-\d+$/.test(policy);
}

/** Whether a policy is one of those between the steps of RL, which only choose a checkpoint. */
function ofTrainingStep(policy: string): boolean {
  return policy.startsWith("step-");
}

/** Returns its duration in seconds. */
async function complete({ log }: Run, { request, began, judged }: Measuring, { publish }: Out): Promise<number> {
  const { scenarios: _, tries: __, ids: ___, ...ref } = request;
  const valid = judged.filter(({ reward }) => !("invalid" in reward));
  const solved = valid.filter(({ success }) => success).length;
  const success = successOf(valid.map(({ trajectory, success }) => ({ ...trajectory, success })));
  const seconds = (performance.now() - began) / 1000;
  const sampling = ref.temperature === 0 ? "greedy" : "sampled";
  log.info(
    `${ref.policy} on ${ref.split}, ${sampling}: ${solved} of ${valid.length} ` +
      `(${success.low.toFixed(2)} to ${success.high.toFixed(2)}), ${
        judged.length - valid.length
      } could not be judged, ${seconds.toFixed(1)} s`,
  );
  await publish("evaluation.completed", { ...ref, success, seconds });
  return seconds;
}
