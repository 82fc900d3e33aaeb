/**
 * evaluation.requested → group.requested, one for each scenario of the split → (rollouts, judges, rewards) →
 * evaluation.completed. Evaluates a policy with the same rollout plugin and judges as training. Only validation results
 * influence training. A recorded evaluation is answered from the record, unless its rewards would now be others.
 * @module
 */
import type { Out } from "../../bus.ts";
import type { EvaluationTarget, EventMap } from "../../events.ts";
import { evaluationKey, rewardMakers } from "../../store/recorded.ts";
import { success as successOf } from "../../verdict/mod.ts";
import type { Bound } from "../bindings.ts";
import type { Judged, Run } from "../context.ts";
import { rewardMaker } from "../made_by.ts";

/** Sampling of an evaluation. */
export type Sampling = "greedy" | "sampled";

/** The temperature of an evaluation. */
export function temperatureOf({ config }: Pick<Run, "config">, sampling: Sampling): number {
  return sampling === "greedy" ? 0 : config.agent.temperature;
}

/** The phase of a policy's evaluation in the run's forecast. */
export function evaluationPhase(policy: string, sampling: Sampling): string {
  return `evaluate ${policy} ${sampling}`;
}

/** The request for an evaluation of a policy on a split. */
export function evaluation(
  run: Run,
  policy: string,
  { split, tries, sampling }: { split: EvaluationTarget["split"]; tries: number; sampling: Sampling },
): EventMap["evaluation.requested"] {
  const policy_version = run.policies.get(policy)?.version ?? run.recorded.policies.get(policy)?.version ?? 0;
  const scenarios = run.scenarios.filter((scenario) => scenario.split === split).length;
  return { policy, policy_version, split, temperature: temperatureOf(run, sampling), scenarios, tries };
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
        if (request.split !== run.config.evaluate.split) return;
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
  const { scenarios: count, tries, ...ref } = request;
  const { policy, split, temperature } = ref;
  const sampling = temperature === 0 ? "greedy" : "sampled";
  const phase = policy.startsWith("step-") ? "validation" : evaluationPhase(policy, sampling);
  run.progress.begin(`evaluate ${policy} (${split}, ${sampling})`, count * tries, { phase });
  const wanted = run.scenarios.filter((scenario) => scenario.split === split);
  for (const [index, { id }] of wanted.entries()) {
    const group_id = `eval-${policy}-${split}-${sampling}-${id}`;
    const purpose = "evaluation";
    await publish("group.requested", { group_id, scenario_id: id, purpose, ...ref, step: -1, index, size: tries });
  }
}

/** Returns its duration in seconds. */
async function complete({ log }: Run, { request, began, judged }: Measuring, { publish }: Out): Promise<number> {
  const { scenarios: _, tries: __, ...ref } = request;
  const valid = judged.filter(({ reward }) => !("invalid" in reward));
  const solved = valid.filter(({ success }) => success).length;
  const success = successOf(valid.map(({ trajectory, success }) => ({ ...trajectory, success })));
  const seconds = (performance.now() - began) / 1000;
  const sampling = ref.temperature === 0 ? "greedy" : "sampled";
  log.info(
    `${ref.policy} on ${ref.split}, ${sampling}: ${solved} of ${valid.length} ` +
      `(${success.low.toFixed(2)} to ${success.high.toFixed(2)}), ${judged.length - valid.length} invalid, ${
        seconds.toFixed(1)
      } s`,
  );
  await publish("evaluation.completed", { ...ref, success, seconds });
  return seconds;
}
