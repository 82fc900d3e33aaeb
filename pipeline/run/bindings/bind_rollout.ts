/**
 * group.requested → rollouts → turn.completed, tool.called, observation.made, rollout.completed …, group.completed.
 * Each rollout has its own environment; judges observe it before the agent acts and before it is released. A failed
 * rollout is data: it ends with a typed outcome, and the other rollouts continue. A rollout interrupted by the end of
 * the run has no closing record: on resume its group is run again completely, as a new attempt. A completely recorded
 * group is answered from the record.
 * @module
 */
import type { Out, Publish } from "../../bus.ts";
import { limited, timerMs, TimeUp, untilAborted, within } from "../../common/deadline.ts";
import { hash32 } from "../../common/random.ts";
import { redact, valueWithoutHanded, withoutHanded } from "../../common/redact.ts";
import { HoneError, messageOf, sizeOf } from "../../diagnostics/mod.ts";
import { OUTCOME_ENDS } from "../../events.ts";
import type { GroupRequest, Json, Outcome, RolloutRef, Scenario, Trajectory } from "../../events.ts";
import type { Lease } from "../../mcp/pool/pool.ts";
import type { Environment } from "../../plugin.ts";
import { partOf } from "../../scenario/parts.ts";
import { storedGroup } from "../../store/recorded.ts";
import type { Bound } from "../bindings.ts";
import { agentOf, type Run } from "../context.ts";
import { replaySolution } from "../online/warm_start.ts";
import { withBoundedResult } from "../stored_result.ts";
import type { Tracked } from "../progress/in_flight.ts";
import { Semaphore } from "../../common/semaphore.ts";
import { mustHave } from "../../kinds/kind.ts";
import { isJudgeable } from "./bind_judge.ts";

/** A group in progress. */
interface Playing {
  run: Run;
  request: GroupRequest;
  scenario: Scenario;
  attempt: number;
  publish: Publish;
  /** Aborts the group's rollouts. */
  signal: AbortSignal;
  /** Called when the first of its rollouts has its servers: starts the group's time limit. */
  leased: () => void;
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
  // A group of failures alone tells nothing: what failed then may work now.
  const whole = stored !== null && stored.trajectories.length >= size && stored.trajectories.some(isJudgeable);
  const attempt = (stored?.attempt ?? 0) + 1;
  const trajectories = whole
    ? stored.trajectories
    : await runRollouts(slots, { run, request, scenario, attempt, publish });
  const awaited = trajectories.filter(isJudgeable).length * run.roles.judges.length;
  run.groups.set(group_id, { request, scenario, trajectories, judgements: new Map(), awaited });
  const rollout_ids = trajectories.map(({ rollout_id }) => rollout_id);
  await deliver("group.completed", { group_id, scenario_id, step, rollout_ids }, whole && stored.completed);
}

/** Runs the rollouts of a group. Throws only when the run is ending. */
async function runRollouts(slots: Semaphore, group: Omit<Playing, "signal" | "leased">): Promise<Trajectory[]> {
  const { run, request } = group;
  const late = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const leased = () => {
    timer ??= setTimeout(() => late.abort(new GroupTimeout()), timerMs(run.config.train.group_timeout_secs));
  };
  const playing = { ...group, signal: AbortSignal.any([run.signal, late.signal]), leased };
  try {
    const rollouts = Array.from(
      { length: request.size },
      (_, index) => runRollout(playing, reference(playing, index), slots),
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

class GroupTimeout extends Error {
  override message = "the group's time limit was reached";
}

function reference({ run, request, attempt }: Playing, index: number): RolloutRef {
  const { index: _, size: __, ...shared } = request;
  const seed = hash32(`${run.config.seed} ${request.group_id} ${index}`) & 0x7fffffff;
  const rollout_id = `${request.group_id}-r${index}${attempt > 1 ? `.a${attempt}` : ""}`;
  return { rollout_id, ...shared, try: index, seed, attempt };
}

async function runRollout(playing: Playing, ref: RolloutRef, slots: Semaphore): Promise<Trajectory> {
  const { run, publish } = playing;
  const outcome: Outcome = { end: "cancelled", answer: null };
  const trajectory: Trajectory = { ...ref, turns: [], tool_calls: [], outcome, observations: {}, seconds: 0 };
  const recorded: Promise<void>[] = [];
  await slots.use(() => runTimed(playing, ref, trajectory, recorded));
  run.signal.throwIfAborted();
  // After releasing the slot: another rollout starts while this one waits to be on disk.
  await Promise.all(recorded);
  run.spent.rollouts++;
  await publish("rollout.completed", { ...ref, outcome: trajectory.outcome, seconds: trajectory.seconds });
  return trajectory;
}

async function runTimed(
  playing: Playing,
  ref: RolloutRef,
  trajectory: Trajectory,
  recorded: Promise<void>[],
): Promise<void> {
  const { run, publish, signal } = playing;
  const started = performance.now();
  const tracked = run.progress.rollout(ref.rollout_id, ref.scenario_id);
  try {
    await publish("rollout.requested", ref);
    const outcome = await within(
      run.agent.rollout_timeout_secs,
      signal,
      (own) => inEnvironment({ ...playing, signal: own }, trajectory, tracked, recorded),
    );
    // An endpoint that rejects a key may echo it.
    const { cause } = outcome;
    trajectory.outcome = cause === undefined ? outcome : { ...outcome, cause: withoutHanded(cause) };
  } finally {
    tracked.end();
    trajectory.seconds = (performance.now() - started) / 1000;
  }
}

async function inEnvironment(
  playing: Playing,
  trajectory: Trajectory,
  tracked: Tracked,
  recorded: Promise<void>[],
): Promise<Outcome> {
  const { run: { environments, catalog, tape }, scenario, signal, leased } = playing;
  let lease: Lease;
  try {
    lease = await environments.lease({ rollout_id: trajectory.rollout_id, scenario, catalog, signal });
  } catch (error) {
    const end = error instanceof HoneError && error.code === "TAPE_MISS" ? "tape_miss" : "server_failed";
    return signal.aborted ? ended(signal) : { end, answer: null, cause: message(error) };
  }
  try {
    // Starting servers has a separate time limit; the group's covers only the rollouts.
    leased();
    const before = await observeBefore(playing, trajectory, tracked, lease);
    tracked.doing("model");
    const played = await recordTurns(playing, trajectory, lease, tracked, recorded);
    const outcome = tape?.settled(lease, played) ?? played;
    tracked.doing("observation");
    if (isJudgeable({ outcome })) await observe(playing, trajectory, lease, before);
    if (signal.aborted) return ended(signal);
    return tape?.settled(lease, outcome) ?? outcome;
  } catch (error) {
    if (signal.aborted) return ended(signal);
    const failed: Outcome = { end: "endpoint_failed", answer: null, cause: message(error) };
    return tape?.settled(lease, failed) ?? failed;
  } finally {
    await lease.release();
  }
}

/** More than any rollout needs: one that yields for ever ends. */
const MOST_RECORDS = 10_000;

async function recordTurns(
  { run, request, scenario, publish, signal }: Playing,
  trajectory: Trajectory,
  lease: Lease,
  tracked: Tracked,
  recorded: Promise<void>[],
): Promise<Outcome> {
  const { rollout_id, seed } = trajectory;
  const environment: Environment = tracked.watched(lease);
  const agent = agentOf(run, request.policy);
  const named = run.policies.get(request.policy)!;
  const { temperature } = request;
  const sampled = { ...named, sampling: { ...named.sampling, temperature } };
  const policy = run.tape?.policy(lease, sampled) ?? sampled;
  const samples = policy === sampled || !run.tape?.replays;
  const records = untilAborted(
    signal,
    request.purpose === "demonstration"
      ? replaySolution(run, scenario, environment)
      : run.roles.rollout.role.run({ rollout_id, scenario, policy, environment, agent, seed, signal }),
  );
  try {
    for (let count = 1;; count++) {
      const { done, value } = await records.next();
      if (done) return checkedOutcome(value);
      if (count > MOST_RECORDS) throw new Error(`the rollout has more than ${MOST_RECORDS} turns and calls`);
      // Recorded while the rollout continues; everything is on disk before the rollout's closing record.
      if (value.type === "turn") {
        trajectory.turns.push(value);
        tracked.turned();
        if (samples) run.progress.tokens(value.output_tokens);
        run.spent.tokens += value.output_tokens;
        recorded.push(publish("turn.completed", { rollout_id, turn: value }));
      } else {
        const call = withBoundedResult(value, run.config.limits.result_bytes);
        trajectory.tool_calls.push(call);
        recorded.push(publish("tool.called", { rollout_id, call }));
      }
    }
  } finally {
    await records.return({ end: "cancelled", answer: null });
  }
}

/** What judges see of the environment before the agent acts, by judge. */
type Before = Map<string, Json>;

async function observeBefore(
  { run, scenario, signal }: Playing,
  { rollout_id }: Trajectory,
  tracked: Tracked,
  lease: Lease,
): Promise<Before> {
  const before: Before = new Map();
  for (const { id, role, part, timeout_secs } of run.roles.judges) {
    if (!role.observeBefore) continue;
    tracked.doing("observation");
    const expected = part ? partOf(scenario, part) : undefined;
    const look = async (environment: Environment) => {
      try {
        const seen = () => role.observeBefore!(environment, scenario, expected);
        before.set(id, await limited(timeout_secs, signal, seen));
      } catch (error) {
        run.log.warn(`${id}: could not observe ${rollout_id} before the agent acted: ${message(error)}`);
      }
    };
    await (run.tape ? run.tape.beforehand(lease, look) : look(lease));
  }
  return before;
}

async function observe(
  { run, scenario, publish, signal }: Playing,
  trajectory: Trajectory,
  environment: Lease,
  before: Before,
) {
  const { rollout_id } = trajectory;
  for (const { id, role, part, timeout_secs } of run.roles.judges) {
    if (!role.observe) continue;
    let observation: Json;
    try {
      const expected = part ? partOf(scenario, part) : undefined;
      const seen = () => role.observe!(environment, scenario, expected, before.get(id));
      const look = () => limited(timeout_secs, signal, seen);
      observation = await (run.tape ? run.tape.observed(environment, id, look) : look());
      mustBeRecordable(observation);
      // A server may have written its variables to a file.
      observation = valueWithoutHanded(observation);
    } catch (error) {
      // Without an observation the judge cannot judge, and returns `invalid`; the rollout itself is unaffected.
      run.log.warn(`${id}: could not observe ${rollout_id}: ${message(error)}`);
      continue;
    }
    trajectory.observations[id] = observation;
    await publish("observation.made", { rollout_id, judge: id, observation });
  }
}

/** Of one observation as JSON. */
const MAX_OBSERVATION_CHARS = 16_000_000;

function mustBeRecordable(observation: Json | undefined): void {
  if (observation === undefined) throw new Error("observe returned nothing: expected JSON");
  const { length } = JSON.stringify(observation);
  if (length > MAX_OBSERVATION_CHARS) {
    throw new Error(`the observation has ${sizeOf(length)}: expected at most ${sizeOf(MAX_OBSERVATION_CHARS)}`);
  }
}

function checkedOutcome(outcome: unknown): Outcome {
  const { end, answer } = mustHave(outcome, "the outcome of a rollout", { end: "string" });
  if (!OUTCOME_ENDS.some((known) => known === end)) {
    throw new Error(
      `the outcome of a rollout has end ${JSON.stringify(end)}: expected one of ${OUTCOME_ENDS.join(", ")}`,
    );
  }
  if (answer !== null && typeof answer !== "string") {
    throw new Error("the outcome of a rollout has no answer (string or null)");
  }
  return outcome as Outcome;
}

function ended(signal: AbortSignal): Outcome {
  const cause = signal.reason instanceof TimeUp
    ? "the rollout's time limit was reached"
    : signal.reason instanceof GroupTimeout && signal.reason.message;
  return cause ? { end: "timeout", answer: null, cause } : { end: "cancelled", answer: null, cause: "the run ended" };
}

/** For the run's records: a server's error text may contain secrets that were passed to it. */
function message(error: unknown): string {
  return redact(messageOf(error));
}
