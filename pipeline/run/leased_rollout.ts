/**
 * One rollout on a leased environment: judges observe it before the agent acts, the agent plays, judges observe it again,
 * and it is released. Used by the training loop, which records it, and by trials (`trial.ts`), which do not. A failed
 * rollout is data: it ends with a typed outcome.
 * @module
 */
import type { Publish } from "../bus.ts";
import { limited, TimeUp, untilAborted, within } from "../common/deadline.ts";
import { redact, valueWithoutHanded, withoutHanded } from "../common/redact.ts";
import { HoneError, messageOf, sizeOf } from "../diagnostics/mod.ts";
import { OUTCOME_ENDS } from "../events.ts";
import type { Json, Outcome, RolloutRef, Scenario, Trajectory } from "../events.ts";
import { mustHave } from "../kinds/kind.ts";
import type { Lease } from "../mcp/pool/pool.ts";
import type { Environment, RolloutRecord } from "../plugin.ts";
import { partOf } from "../scenario/parts.ts";
import { isJudgeable } from "./bindings/bind_judge.ts";
import { agentOf, type Run } from "./context.ts";
import type { Tracked } from "./progress/in_flight.ts";
import { replaySolution, type Solution } from "./reference_solution.ts";
import { withBoundedResult } from "./stored_result.ts";

/** A rollout to play. */
export interface Playing {
  run: Run;
  scenario: Scenario;
  /** The calls and the answer to replay; without them, the policy that `ref` names plays. */
  replay?: Solution;
  /** Receives its records, in order. */
  publish: Publish;
  /** Aborts it. */
  signal: AbortSignal;
  /** Called when it has its servers. */
  leased?: () => void;
}

/** Reason of a signal that ends the rollouts of a group. */
export class GroupTimeout extends Error {
  override message = "the group's time limit was reached";
}

/** A rollout that has not begun. */
export function unplayed(ref: RolloutRef): Trajectory {
  const outcome: Outcome = { end: "cancelled", answer: null };
  return { ...ref, turns: [], tool_calls: [], outcome, observations: {}, seconds: 0 };
}

/**
 * Plays a rollout into its trajectory, within its time limit. Its turns and calls are on disk once `recorded` has
 * resolved. Never throws for what happens in it.
 */
export async function playRollout(
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
    leased?.();
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
  playing: Playing,
  trajectory: Trajectory,
  lease: Lease,
  tracked: Tracked,
  recorded: Promise<void>[],
): Promise<Outcome> {
  const { run, publish, signal } = playing;
  const { rollout_id } = trajectory;
  const { generator, samples } = acting(playing, trajectory, lease, tracked.watched(lease));
  const records = untilAborted(signal, generator);
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

/** What the agent does; `samples` if a model is asked. */
function acting(
  { run, scenario, replay, signal }: Playing,
  { rollout_id, seed, policy: name, temperature }: Trajectory,
  lease: Lease,
  environment: Environment,
): { generator: AsyncGenerator<RolloutRecord, Outcome>; samples: boolean } {
  if (replay) return { generator: replaySolution(run, { ...scenario, solution: replay }, environment), samples: false };
  const agent = agentOf(run, name);
  const named = run.policies.get(name)!;
  const sampled = { ...named, sampling: { ...named.sampling, temperature } };
  const policy = run.tape?.policy(lease, sampled) ?? sampled;
  return {
    generator: run.roles.rollout.role.run({ rollout_id, scenario, policy, environment, agent, seed, signal }),
    samples: policy === sampled || !run.tape?.replays,
  };
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
