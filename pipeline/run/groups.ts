/**
 * Groups with memory: a group whose rollouts all have a closing record is read from the store, any other one is run
 * (again, as a new attempt). This one rule is all of resume for rollouts.
 * @module
 */
import type { Judged } from "./rollouts.ts";
import { type GroupSpec, judgeGroup, runGroup } from "./rollouts.ts";
import type { RunContext } from "./context.ts";
import { storedGroup } from "../store/recorded.ts";

/** Runs the groups at once (bounded by the run's slots), reading from the store what is already done. */
export async function runGroups(ctx: RunContext, specs: Omit<GroupSpec, "attempt">[]): Promise<Judged[][]> {
  const results = await Promise.allSettled(specs.map((spec) => runOrRecall(ctx, spec)));
  ctx.signal.throwIfAborted();
  return results.map((result) => {
    if (result.status === "rejected") throw result.reason;
    return result.value;
  });
}

async function runOrRecall(ctx: RunContext, spec: Omit<GroupSpec, "attempt">): Promise<Judged[]> {
  const stored = ctx.resumed ? await storedGroup(ctx.store, spec.group_id) : null;
  if (!stored) return await runGroup(ctx, { ...spec, attempt: 1 });
  const { attempt, trajectories, rewards } = stored;
  if (trajectories.length < spec.size) return await runGroup(ctx, { ...spec, attempt: attempt + 1 });
  if (rewards.size < trajectories.length) return await judgeGroup(ctx, spec.scenario, trajectories);
  return trajectories.map((trajectory) => {
    const { success, reward } = rewards.get(trajectory.rollout_id)!;
    ctx.progress.judged("invalid" in reward ? { invalid: trajectory.outcome.end } : success, { recalled: true });
    return { trajectory, success, reward };
  });
}
