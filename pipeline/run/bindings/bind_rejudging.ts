/**
 * run.started → group.completed, one for each recorded group, to the judges and the reward shaper → group.rewarded →
 * evaluation.completed for every recorded evaluation, ladder.completed. The flow of `hone rejudge`: nothing is rolled
 * out, no server is started.
 * @module
 */
import type { Out, Publish } from "../../bus.ts";
import { canonical } from "../../common/json.ts";
import { counted, runner as messages } from "../../diagnostics/mod.ts";
import type { EvaluationTarget, EventMap, Json, Scenario } from "../../events.ts";
import { allScenarios, evaluationKey, groupIds, lastOf, recordedCatalog, storedGroup } from "../../store/recorded.ts";
import { success as successOf } from "../../verdict/mod.ts";
import type { Bound } from "../bindings.ts";
import type { Group, Run } from "../context.ts";
import { isJudgeable } from "./bind_judge.ts";

/** What an evaluation needs to know of a rollout. */
interface Counted {
  scenario_id: string;
  success: boolean;
}

/** Binds the source of the groups and the end of the judging. */
export function bind(run: Run): Bound[] {
  const evaluated = new Map<string, Counted[]>();
  let left = 0;
  return [{
    stage: "rejudging",
    on: {
      "run.started": async (_, out) => {
        run.catalog = await recordedCatalog(run.store) ?? run.catalog;
        const scenarios = await judgedScenarios(run);
        const ids = await groupIds(run.store);
        left = ids.length;
        run.progress.begin("rejudge", Number((await run.store.query(ROLLOUTS))[0]?.n ?? 0));
        for (const group_id of ids) {
          if (!await deliver(run, group_id, scenarios, out) && --left === 0) {
            await complete(run, evaluated, out.publish);
          }
        }
        if (ids.length === 0) await complete(run, evaluated, out.publish);
      },
      "group.rewarded": async ({ data: { group_id, purpose } }, { publish }) => {
        const { request, judged } = run.groups.get(group_id)!;
        run.groups.delete(group_id);
        if (purpose === "evaluation") {
          const valid = judged!.filter(({ reward }) => !("invalid" in reward));
          const counted = valid.map(({ success }) => ({ scenario_id: request.scenario_id, success }));
          const key = evaluationKey(request);
          evaluated.set(key, [...evaluated.get(key) ?? [], ...counted]);
        }
        if (--left === 0) await complete(run, evaluated, publish);
      },
    },
  }];
}

const ROLLOUTS = "SELECT count(*) AS n FROM rollouts WHERE abandoned IS NULL";

/** Delivers a recorded group to the judges; false if it has no finished rollout, or no scenario on record. */
async function deliver(run: Run, group_id: string, scenarios: Map<string, Scenario>, out: Out): Promise<boolean> {
  const { trajectories } = await storedGroup(run.store, group_id) ?? { trajectories: [] };
  const [first] = trajectories;
  const scenario = first && scenarios.get(first.scenario_id);
  if (!first || !scenario) return false;
  const { scenario_id, purpose, split, policy, policy_version, temperature, step } = first;
  const ref = { group_id, scenario_id, purpose, split, policy, policy_version, temperature, step };
  const request = { ...ref, index: 0, size: trajectories.length };
  const awaited = trajectories.filter(isJudgeable).length * run.roles.judges.length;
  const group: Group = { request, scenario, trajectories, judgements: new Map(), awaited };
  run.groups.set(group_id, group);
  const rollout_ids = trajectories.map(({ rollout_id }) => rollout_id);
  await out.deliver("group.completed", { group_id, scenario_id, step, rollout_ids }, true);
  return true;
}

/**
 * The scenarios by id: as the pipeline has them now, where the rollouts attempted the same task from the same state;
 * otherwise as recorded.
 */
async function judgedScenarios(run: Run): Promise<Map<string, Scenario>> {
  const given = new Map(run.scenarios.map((scenario) => [scenario.id, scenario]));
  const others: string[] = [];
  const scenarios = (await allScenarios(run.store)).map((recorded) => {
    const now = given.get(recorded.id);
    if (!now || canonical(attempted(now)) === canonical(attempted(recorded))) return now ?? recorded;
    others.push(recorded.id);
    return recorded;
  });
  if (others.length > 0) run.log.warn(messages.rejudged_as_recorded(others).message);
  return new Map(scenarios.map((scenario) => [scenario.id, scenario]));
}

function attempted({ task, setup }: Scenario): Json {
  return [task, (setup ?? null) as Json];
}

async function complete(run: Run, evaluated: Map<string, Counted[]>, publish: Publish): Promise<void> {
  for (const { seconds, ...target } of await requested(run)) {
    const key = evaluationKey(target);
    const counts = evaluated.get(key);
    // An earlier start of the judging may have recorded it.
    if (!counts || run.recorded.evaluations.has(key)) continue;
    await publish("evaluation.completed", { ...target, success: successOf(counts), seconds });
    const solved = counts.filter(({ success }) => success).length;
    run.log.info(`${target.policy} on ${target.split}: ${solved} of ${counted(counts.length, "judged rollout")}`);
  }
  await publish("ladder.completed", await shipped(run));
}

/** The evaluations of the original run. */
async function requested(run: Run): Promise<(EvaluationTarget & { seconds: number })[]> {
  return (await lastOf(run.store, "rejudging.requested"))?.evaluations ?? [];
}

/** The policy that the original run exported. */
async function shipped(run: Run): Promise<EventMap["ladder.completed"]> {
  return await lastOf(run.store, "ladder.completed") ?? run.to_export;
}
