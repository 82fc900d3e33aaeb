/**
 * What of a run is still to come, as phases for its forecast: the ladder's rungs, their measurements, verdict, export.
 * @module
 */
import type { Completed } from "../../store/recorded.ts";
import type { RunContext } from "../context.ts";
import { evaluationPhase, temperatureOf } from "../online/measure.ts";
import type { Phase, Speeds } from "./forecast.ts";
import { demonstrated } from "../online/warm_start.ts";

/** Seconds that verdict and export take on a small run; they come once, so no earlier one tells. */
const CLOSING_SECS = 2;

/** The phases of a ladder that are not done yet, in order. */
export function ladderPhases(ctx: RunContext, done: Completed): Phase[] {
  const { ladder } = ctx.config;
  const trains = ctx.trainer !== null;
  const [warm, rl] = [trains && ladder.includes("warm_start"), trains && ladder.includes("rl")];
  const prompt = ladder.includes("prompt") && ctx.agent.examples.length > 0;
  return [
    ...measurements(ctx, "base", done),
    ...(prompt ? measurements(ctx, "prompt", done) : []),
    ...(warm && !done.policies.has("warm_start") ? supervised(ctx, done) : []),
    ...(warm && rl ? measurements(ctx, "warm_start", done) : []),
    ...(rl && !done.policies.has("tuned") ? reinforcement(ctx, done) : []),
    ...(warm || rl ? measurements(ctx, "tuned", done) : []),
    ...closing(ctx),
  ];
}

/** The evaluations of one policy that are not done yet. */
export function measurements(ctx: RunContext, policy: string, done?: Completed): Phase[] {
  const { policies, split, tries, sampling } = ctx.config.evaluate;
  if (!policies.some((name) => name === policy)) return [];
  return sampling
    .filter((mode) => !done?.evaluations.has(`${policy}/${split}/${temperatureOf(ctx, mode)}`))
    .map((mode) => ({
      name: evaluationPhase(policy, mode),
      kind: "rollout",
      counts: "rollouts",
      units: count(ctx, split) * tries,
    }));
}

/** What every run ends with. */
export function closing(ctx: RunContext): Phase[] {
  const once = { counts: "steps", units: 1, guess: () => CLOSING_SECS } as const;
  const exports = ctx.trainer
    ? ctx.roles.exporters.map(() => ({ name: "export", kind: "export", ...once }) as const)
    : [];
  return [{ name: "verdict", kind: "verdict", ...once }, ...exports.slice(0, 1)];
}

function supervised(ctx: RunContext, done: Completed): Phase[] {
  const { epochs, batch_size } = ctx.config.warm_start;
  const solutions = demonstrated(ctx).length;
  const steps = epochs * Math.ceil(solutions / batch_size) - done.step;
  return [
    { name: "replay", kind: "replay", counts: "rollouts", units: solutions },
    { name: "warm start", kind: "supervised", counts: "steps", units: Math.max(0, steps) },
  ];
}

function reinforcement(ctx: RunContext, done: Completed): Phase[] {
  const { steps, groups_per_step, group_size, validate_every } = ctx.config.train;
  const rollouts = groups_per_step * group_size;
  // Before the first step: as many rollouts as an evaluation has shown, and as many rows as the warm start has.
  const guess = (speeds: Speeds) => {
    const [rollout, supervised] = [speeds("rollout"), speeds("supervised")];
    if (rollout === null || supervised === null) return null;
    return rollouts * (rollout + supervised / ctx.config.warm_start.batch_size);
  };
  const taken = Math.max(0, done.step - done.supervised_steps);
  const validations = validate_every > 0 ? Math.floor(steps / validate_every) - Math.floor(taken / validate_every) : 0;
  const units = validations * count(ctx, "validation");
  return [
    { name: "rl", kind: "rl", counts: "steps", units: Math.max(0, steps - taken), guess, limited: true },
    { name: "validation", kind: "rollout", counts: "rollouts", units, within: "rl", limited: true },
  ];
}

function count(ctx: RunContext, wanted: string): number {
  return ctx.scenarios.filter(({ split }) => split === wanted).length;
}
