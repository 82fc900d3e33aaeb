/**
 * Runs groups: leases an environment per rollout, drives the rollout plugin, takes the judges' observations before
 * the environment goes back, judges the group, shapes rewards, and publishes all of it. A bad rollout is data: it
 * ends in a typed outcome and an invalid reward, and its neighbours go on. A rollout that the run's own end cut
 * short leaves no closing record, so that resume does it again.
 * @module
 */
import { TimeUp, within } from "../chat/deadline.ts";
import { HoneError, messageOf } from "../diagnostics/mod.ts";
import type { Json, Outcome, Purpose, RolloutRef, Scenario, Split, Trajectory } from "../events.ts";
import type { Lease } from "../mcp/pool/pool.ts";
import type { Agent, Environment, Policy, RolloutRecord, Shaped, Verdictlet } from "../plugin.ts";
import { redact } from "../common/redact.ts";
import { emit, type RunContext } from "./context.ts";
import { withoutHanded } from "../common/redact.ts";
import type { Tracked } from "./progress/in_flight.ts";
import { hash32 } from "../common/random.ts";

/** A group to run: rollouts of one scenario under one policy version. */
export interface GroupSpec {
  group_id: string;
  scenario: Scenario;
  policy: Policy;
  agent: Agent;
  purpose: Purpose;
  split: Split;
  step: number;
  size: number;
  attempt: number;
  timeout_secs: number;
  /** Replaces the rollout plugin, for demonstrations. */
  drive?: (environment: Environment, signal: AbortSignal) => AsyncGenerator<RolloutRecord, Outcome>;
}

/** A rollout with what the judges and the shaper made of it. */
export interface Judged {
  trajectory: Trajectory;
  reward: { value: number; parts: Record<string, number> } | { invalid: string };
  success: boolean;
}

/** Ends that say nothing about the policy. */
const FAILURES = new Set<Outcome["end"]>(["server_failed", "endpoint_failed", "cancelled", "timeout", "tape_miss"]);

/** Runs one group to its rewards. Throws only when the run itself is ending. */
export async function runGroup(ctx: RunContext, spec: GroupSpec): Promise<Judged[]> {
  const late = new AbortController();
  const signal = AbortSignal.any([ctx.signal, late.signal]);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const startClock = () => timer ??= setTimeout(() => late.abort(new GroupTimeout()), spec.timeout_secs * 1000);
  try {
    const rollouts = Array.from(
      { length: spec.size },
      (_, index) => ctx.slots.use(() => runRollout(ctx, spec, reference(ctx, spec, index), signal, startClock)),
    );
    // All of them, whatever one throws: none may outlive the store and the pool.
    await Promise.allSettled(rollouts);
    const trajectories = await Promise.all(rollouts);
    ctx.signal.throwIfAborted();
    await emit(ctx, "runner", "group.completed", {
      group_id: spec.group_id,
      scenario_id: spec.scenario.id,
      step: spec.step,
      rollout_ids: trajectories.map((trajectory) => trajectory.rollout_id),
    });
    return await judgeGroup(ctx, spec.scenario, trajectories);
  } finally {
    clearTimeout(timer);
  }
}

/** Judges a group's stored trajectories and publishes judgements and rewards. Also used on resume. */
export async function judgeGroup(ctx: RunContext, scenario: Scenario, trajectories: Trajectory[]): Promise<Judged[]> {
  const judgeable = trajectories.filter(({ outcome }) => !FAILURES.has(outcome.end));
  const judgements = new Map<string, Record<string, Verdictlet>>(judgeable.map((t) => [t.rollout_id, {}]));
  for (const { id, role } of ctx.roles.judges) {
    if (judgeable.length === 0) break;
    if (role.scale === "relative" && judgeable[0]!.purpose !== "train") continue;
    const verdicts = await judgeSafely(() => role.judge(judgeable, scenario), judgeable.length);
    for (const [index, trajectory] of judgeable.entries()) {
      const verdict = verdicts[index] ?? { invalid: `${id} returned no judgement` };
      judgements.get(trajectory.rollout_id)![id] = verdict;
      await ctx.bus.emit(id, "judgement.made", { rollout_id: trajectory.rollout_id, judge: id, ...verdict }).ordered;
    }
  }
  return await Promise.all(trajectories.map((trajectory) => shape(ctx, trajectory, judgements)));
}

async function shape(
  ctx: RunContext,
  trajectory: Trajectory,
  judgements: Map<string, Record<string, Verdictlet>>,
): Promise<Judged> {
  const made = judgements.get(trajectory.rollout_id);
  const reward = made
    ? await shapeSafely(() => ctx.roles.shaper.role.shape(trajectory, made))
    : { invalid: trajectory.outcome.cause ?? trajectory.outcome.end };
  const success = made !== undefined && !("invalid" in reward) && decided(ctx, made);
  await emit(ctx, ctx.roles.shaper.id, "reward.shaped", {
    rollout_id: trajectory.rollout_id,
    group_id: trajectory.group_id,
    success,
    ...reward,
  });
  ctx.progress.judged("invalid" in reward ? { invalid: trajectory.outcome.end } : success);
  return { trajectory, reward, success };
}

function decided(ctx: RunContext, judgements: Record<string, Verdictlet>): boolean {
  return ctx.roles.judges.filter(({ role }) => role.decisive).every(({ id }) => {
    const verdict = judgements[id];
    return verdict !== undefined && "score" in verdict && verdict.score >= ctx.config.evaluate.success_at - 1e-9;
  });
}

async function judgeSafely(judge: () => Promise<Verdictlet[]> | Verdictlet[], count: number): Promise<Verdictlet[]> {
  try {
    return await judge();
  } catch (error) {
    return Array.from({ length: count }, () => ({ invalid: `judge failed: ${message(error)}` }));
  }
}

async function shapeSafely(shape: () => Promise<Shaped> | Shaped): Promise<Shaped> {
  try {
    return await shape();
  } catch (error) {
    return { invalid: `reward shaper failed: ${message(error)}` };
  }
}

class GroupTimeout extends Error {
  override message = "the group's time was up";
}

function reference(ctx: RunContext, spec: GroupSpec, index: number): RolloutRef {
  const suffix = spec.attempt > 1 ? `.a${spec.attempt}` : "";
  return {
    rollout_id: `${spec.group_id}-r${index}${suffix}`,
    group_id: spec.group_id,
    scenario_id: spec.scenario.id,
    purpose: spec.purpose,
    split: spec.split,
    temperature: spec.policy.sampling.temperature,
    try: index,
    policy: spec.policy.name,
    policy_version: spec.policy.version,
    step: spec.step,
    seed: hash32(`${ctx.config.seed} ${spec.group_id} ${index}`) & 0x7fffffff,
    attempt: spec.attempt,
  };
}

async function runRollout(
  ctx: RunContext,
  spec: GroupSpec,
  ref: RolloutRef,
  signal: AbortSignal,
  leased: () => void,
): Promise<Trajectory> {
  const trajectory: Trajectory = {
    ...ref,
    turns: [],
    tool_calls: [],
    outcome: { end: "cancelled", answer: null },
    observations: {},
    seconds: 0,
  };
  const started = performance.now();
  const tracked = ctx.progress.rollout(ref.rollout_id, ref.scenario_id);
  try {
    await ctx.bus.emit("runner", "rollout.requested", ref).ordered;
    const { rollout_timeout_secs } = spec.agent;
    const outcome = await within(
      rollout_timeout_secs,
      signal,
      (own) => episode(ctx, spec, trajectory, { tracked, leased }, own),
    );
    // An endpoint that refuses a key may repeat it.
    const { cause } = outcome;
    trajectory.outcome = cause === undefined ? outcome : { ...outcome, cause: withoutHanded(cause) };
  } finally {
    tracked.end();
  }
  ctx.signal.throwIfAborted();
  trajectory.seconds = (performance.now() - started) / 1000;
  ctx.spent.rollouts++;
  await emit(ctx, "runner", "rollout.completed", { ...ref, outcome: trajectory.outcome, seconds: trajectory.seconds });
  return trajectory;
}

async function episode(
  ctx: RunContext,
  spec: GroupSpec,
  trajectory: Trajectory,
  { tracked, leased }: { tracked: Tracked; leased: () => void },
  signal: AbortSignal,
): Promise<Outcome> {
  let lease: Lease;
  try {
    const { rollout_id } = trajectory;
    lease = await ctx.pool.lease({ rollout_id, scenario: spec.scenario, catalog: ctx.catalog, signal });
  } catch (error) {
    const end = error instanceof HoneError && error.code === "TAPE_MISS" ? "tape_miss" : "server_failed";
    return signal.aborted ? ended(signal) : { end, answer: null, cause: message(error) };
  }
  try {
    // Servers that start have a limit of their own; the group's time is for what rollouts do.
    leased();
    tracked.doing("model");
    const policy = ctx.tape?.policy(lease, spec.policy) ?? spec.policy;
    const played = await drive(ctx, { ...spec, policy }, trajectory, tracked.watched(lease), tracked, signal);
    const outcome = ctx.tape?.settled(lease, played) ?? played;
    tracked.doing("observation");
    if (!FAILURES.has(outcome.end)) await observe(ctx, spec.scenario, trajectory, lease);
    if (signal.aborted) return ended(signal);
    return ctx.tape?.settled(lease, outcome) ?? outcome;
  } catch (error) {
    if (signal.aborted) return ended(signal);
    const failed: Outcome = { end: "endpoint_failed", answer: null, cause: message(error) };
    return ctx.tape?.settled(lease, failed) ?? failed;
  } finally {
    await lease.release();
  }
}

async function drive(
  ctx: RunContext,
  spec: GroupSpec,
  trajectory: Trajectory,
  environment: Environment,
  tracked: Tracked,
  signal: AbortSignal,
): Promise<Outcome> {
  const { rollout_id, seed } = trajectory;
  const { scenario, policy, agent } = spec;
  const records = spec.drive?.(environment, signal) ??
    ctx.roles.rollout.role.run({ rollout_id, scenario, policy, environment, agent, seed, signal });
  for (;;) {
    const { done, value } = await records.next();
    if (done) return value;
    if (value.type === "turn") {
      trajectory.turns.push(value);
      tracked.turned();
      ctx.progress.tokens(value.output_tokens);
      ctx.spent.tokens += value.output_tokens;
      await ctx.bus.emit(ctx.roles.rollout.id, "turn.completed", { rollout_id, turn: value }).ordered;
    } else {
      trajectory.tool_calls.push(value);
      await ctx.bus.emit(ctx.roles.rollout.id, "tool.called", { rollout_id, call: value }).ordered;
    }
  }
}

async function observe(ctx: RunContext, scenario: Scenario, trajectory: Trajectory, environment: Lease) {
  for (const { id, role } of ctx.roles.judges) {
    if (!role.observe) continue;
    let observation: Json;
    try {
      const look = () => role.observe!(environment, scenario);
      observation = await (ctx.tape ? ctx.tape.observed(environment, id, look) : look());
    } catch (error) {
      // What was not observed cannot be judged: the judge says so of this rollout, which did nothing wrong.
      ctx.log.warn(`${id}: could not observe ${trajectory.rollout_id}: ${message(error)}`);
      continue;
    }
    trajectory.observations[id] = observation;
    const { rollout_id } = trajectory;
    await ctx.bus.emit(id, "observation.made", { rollout_id, judge: id, observation }).ordered;
  }
}

function ended(signal: AbortSignal): Outcome {
  const cause = signal.reason instanceof TimeUp
    ? "the rollout's time was up"
    : signal.reason instanceof GroupTimeout && signal.reason.message;
  return cause ? { end: "timeout", answer: null, cause } : { end: "cancelled", answer: null, cause: "the run ended" };
}

/** For the run's records: a server's last words may hold what it was given. */
function message(error: unknown): string {
  return redact(messageOf(error));
}
