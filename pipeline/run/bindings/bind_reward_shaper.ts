/**
 * judgement.made … → reward shaper → reward.shaped, one for each rollout of a group, then group.rewarded. A group is
 * shaped once every judge has returned judgements for its rollouts. Rollouts that failed before they could be judged,
 * that all decisive judges abstained on, or that one could not judge have an invalid reward, never 0.
 * @module
 */
import type { Out } from "../../bus.ts";
import { redact } from "../../common/redact.ts";
import { messageOf } from "../../diagnostics/mod.ts";
import type { Judgement, RewardValue, Trajectory } from "../../events.ts";
import { storedRewards } from "../../store/recorded.ts";
import type { Bound } from "../bindings.ts";
import type { Group, Judged, Run } from "../context.ts";
import { rewardMaker } from "../made_by.ts";
import { isJudgeable } from "./bind_judge.ts";

/** Binds the reward shaper. */
export function bind(run: Run): Bound[] {
  return [{
    stage: run.roles.shaper.id,
    on: {
      "group.completed": ({ data }, out) => shapeWhenJudged(run, run.groups.get(data.group_id), out),
      "judgement.made": ({ data }, out) => {
        const { rollout_id, group_id, judge, made_by: _, ...judgement } = data;
        const group = run.groups.get(group_id)!;
        group.judgements.set(rollout_id, { ...group.judgements.get(rollout_id), [judge]: judgement });
        group.awaited--;
        return shapeWhenJudged(run, group, out);
      },
    },
  }];
}

/** Shapes a group once each judge has judged every rollout that can be judged. */
async function shapeWhenJudged(run: Run, group: Group | undefined, { publish, deliver }: Out) {
  if (!group || group.judged || group.awaited > 0) return;
  group.judged = [];
  const ids = group.trajectories.map(({ rollout_id }) => rollout_id);
  const made_by = rewardMaker(run, group.scenario);
  const stored = run.resumed && !group.judged_anew ? await storedRewards(run.store, ids, made_by) : null;
  const recalled = ids.every((id) => stored?.has(id) && !hasFailed(stored.get(id)!.reward));
  group.judged = recalled
    ? group.trajectories.map((trajectory) => ({ trajectory, ...stored!.get(trajectory.rollout_id)! }))
    : await Promise.all(group.trajectories.map((trajectory) => shape(run, group, trajectory)));
  const { group_id, scenario_id, step, purpose } = group.request;
  const by = made_by === undefined ? {} : { made_by };
  await Promise.all(group.judged.map(({ trajectory, success, reward }) => {
    const { rollout_id, outcome } = trajectory;
    run.progress.judged("invalid" in reward ? { invalid: outcome.end } : success, { recalled });
    return deliver("reward.shaped", { rollout_id, group_id, success, ...by, ...reward }, recalled);
  }));
  await publish("group.rewarded", { group_id, scenario_id, step, purpose });
}

async function shape(run: Run, { judgements }: Group, trajectory: Trajectory): Promise<Judged> {
  const { outcome, rollout_id } = trajectory;
  if (!isJudgeable(trajectory)) {
    return { trajectory, success: false, reward: { invalid: outcome.cause ?? outcome.end } };
  }
  const made = judgements.get(rollout_id)!;
  const decision = decide(run, made);
  const reward = typeof decision === "string" ? { invalid: decision } : await shaped(run, trajectory, made);
  return { trajectory, reward, success: decision === true && !("invalid" in reward) };
}

async function shaped({ roles }: Run, trajectory: Trajectory, made: Record<string, Judgement>): Promise<RewardValue> {
  try {
    const reward = await roles.shaper.role.shape(trajectory, made);
    return "invalid" in reward || Number.isFinite(reward.value)
      ? reward
      : { invalid: `reward shaper returned the value ${reward.value}: expected a number` };
  } catch (error) {
    // A server's error text may contain secrets that were passed to it.
    return { invalid: `${FAILED}${redact(messageOf(error))}` };
  }
}

const FAILED = "reward shaper failed: ";

function hasFailed(reward: RewardValue): boolean {
  return "invalid" in reward && reward.invalid.startsWith(FAILED);
}

/** Whether the rollout succeeded according to the decisive judges, or why that is unknown. */
export function decide(
  { roles, config }: Pick<Run, "roles" | "config">,
  judgements: Record<string, Judgement>,
): boolean | string {
  const said = roles.judges.filter(({ role }) => role.decisive).map(({ id, role }) => {
    const { success_at = config.evaluate.success_at } = role;
    return [id, judgements[id]!, success_at] as const;
  });
  for (const [id, judgement] of said) if ("invalid" in judgement) return `${id}: ${judgement.invalid}`;
  const passed = said.flatMap(([, one, success_at]) => "score" in one ? [one.score >= success_at - 1e-9] : []);
  if (passed.length > 0) return !passed.includes(false);
  return `no decisive judge returned a score: ${
    said.map(([id, one]) => `${id}: ${"abstain" in one && one.abstain}`).join("; ")
  }`;
}
