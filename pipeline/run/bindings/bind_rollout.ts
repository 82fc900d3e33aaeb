/**
 * group.requested → rollouts → turn.completed, tool.called, observation.made, rollout.completed …, group.completed.
 * Each rollout has its own environment; judges observe it before the agent acts and before it is released. A failed
 * rollout is data: it ends with a typed outcome, and the other rollouts continue. A rollout interrupted by the end of
 * the run has no closing record: on resume its group is run again completely, as a new attempt. A completely recorded
 * group is answered from the record.
 * @module
 */
import type { Out, Publish } from "../../bus.ts";
import { timerMs } from "../../common/deadline.ts";
import { hash32 } from "../../common/random.ts";
import { Semaphore } from "../../common/semaphore.ts";
import type { GroupRequest, RolloutRef, Scenario, Trajectory } from "../../events.ts";
import { storedGroup } from "../../store/recorded.ts";
import type { Bound } from "../bindings.ts";
import type { Run } from "../context.ts";
import { NOTHING, type Solution } from "../reference_solution.ts";
import { GroupTimeout, type Playing, playRollout, unplayed } from "../leased_rollout.ts";
import { isJudgeable } from "./bind_judge.ts";

/** A group in progress. */
interface Group {
  run: Run;
  request: GroupRequest;
  scenario: Scenario;
  attempt: number;
  publish: Publish;
}

/** Binds the rollout plugin. */
export function bind(run: Run): Bound[] {
  const { train, evaluate } = run.config;
  // Limits the rollouts in flight, across groups.
  const slots = new Semaphore(train.concurrency);
  const evaluating = evaluate.concurrency === undefined ? slots : new Semaphore(evaluate.concurrency);
  return [{
    stage: run.roles.rollout.id,
    on: {
      "group.requested": ({ data }, out) =>
        runGroup(run, data.purpose === "evaluation" ? evaluating : slots, data, out),
    },
  }];
}

async function runGroup(run: Run, slots: Semaphore, request: GroupRequest, { publish, deliver }: Out) {
  const { group_id, scenario_id, step, size } = request;
  const scenario = run.scenarios.find(({ id }) => id === scenario_id)!;
  const stored = run.resumed ? await storedGroup(run.store, group_id) : null;
  const whole = stored !== null && stored.trajectories.length >= size && isUsable(run, request, stored.trajectories);
  const attempt = (stored?.attempt ?? 0) + 1;
  const trajectories = whole
    ? stored.trajectories
    : await runRollouts(slots, { run, request, scenario, attempt, publish });
  const awaited = trajectories.filter(isJudgeable).length * run.roles.judges.length;
  run.groups.set(group_id, { request, scenario, trajectories, judgements: new Map(), awaited });
  const rollout_ids = trajectories.map(({ rollout_id }) => rollout_id);
  await deliver("group.completed", { group_id, scenario_id, step, rollout_ids }, whole && stored.completed);
}

/**
 * Whether a recorded group is worth keeping. One of failures alone tells nothing: what failed then may work now. So may
 * the failures that made a step of RL one that cannot be trained on.
 */
function isUsable({ config }: Run, { purpose }: GroupRequest, trajectories: Trajectory[]): boolean {
  const failed = trajectories.filter((one) => !isJudgeable(one)).length;
  if (failed === trajectories.length) return false;
  return purpose !== "train" || failed <= config.train.max_invalid * trajectories.length;
}

/** Runs the rollouts of a group. Throws only when the run is ending. */
async function runRollouts(slots: Semaphore, group: Group): Promise<Trajectory[]> {
  const { run, request, scenario, publish } = group;
  const late = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const leased = () => {
    timer ??= setTimeout(() => late.abort(new GroupTimeout()), timerMs(run.config.train.group_timeout_secs));
  };
  const replay = replayed(request, scenario);
  const signal = AbortSignal.any([run.signal, late.signal]);
  // Starting servers has a separate time limit; the group's covers only the rollouts.
  const playing: Playing = { run, scenario, replay, publish, signal, leased };
  try {
    const rollouts = Array.from(
      { length: request.size },
      (_, index) => runRollout(playing, reference(group, index), slots),
    );
    // Waits for all of them even if one throws: none may outlive the store and the pool.
    await Promise.allSettled(rollouts);
    const trajectories = await Promise.all(rollouts);
    run.signal.throwIfAborted();
    return trajectories;
  } finally {
    clearTimeout(timer);
  }
}

/** What is replayed instead of asking a policy. */
function replayed({ purpose, policy }: GroupRequest, { solution }: Scenario): Solution | undefined {
  if (purpose === "demonstration" || policy === "reference") return solution;
  return policy === "nothing" ? NOTHING : undefined;
}

function reference({ run, request, attempt }: Group, index: number): RolloutRef {
  const { index: _, size: __, ...shared } = request;
  const seed = hash32(`${run.config.seed} ${request.group_id} ${index}`) & 0x7fffffff;
  const rollout_id = `${request.group_id}-r${index}${attempt > 1 ? `.a${attempt}` : ""}`;
  return { rollout_id, ...shared, try: index, seed, attempt };
}

async function runRollout(playing: Playing, ref: RolloutRef, slots: Semaphore): Promise<Trajectory> {
  const { run, publish } = playing;
  const trajectory = unplayed(ref);
  const recorded: Promise<void>[] = [];
  await slots.use(() => playRollout(playing, ref, trajectory, recorded));
  run.signal.throwIfAborted();
  // After releasing the slot: another rollout starts while this one waits to be on disk.
  await Promise.all(recorded);
  run.spent.rollouts++;
  await publish("rollout.completed", { ...ref, outcome: trajectory.outcome, seconds: trajectory.seconds });
  return trajectory;
}
