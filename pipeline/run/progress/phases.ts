/**
 * The remaining phases of a run, for its forecast and for `hone validate`: the ladder's rungs, their evaluations,
 * verdict, export.
 * @module
 */
import { type Completed, evaluationKey } from "../../store/recorded.ts";
import type { Agent } from "../../plugin.ts";
import type { Run } from "../context.ts";
import {
  evaluationPhase,
  LADDER,
  type Measurement,
  measurementsOf,
  SEARCH_PHASE,
  temperatureOf,
} from "../bindings/bind_measure.ts";
import type { Phase, Speeds } from "./forecast.ts";
import { firstPolicy, probing } from "../online/difficulty.ts";
import { extentOf, searchesPrompt } from "../prompting/extent.ts";
import { demonstrated } from "../online/warm_start.ts";

/** Seconds that verdict and export take in a small run; they happen once, so their speed cannot be measured first. */
const CLOSING_SECS = 2;

/** What the phases depend on: a run, or what is known of one before it starts. */
export interface Plannable extends Pick<Run, "config" | "scenarios"> {
  agent: Pick<Agent, "examples">;
  /** Null unless the trainer is hosted. */
  hosted: unknown;
  recorded: Pick<Completed, "step" | "supervised_steps" | "policies" | "evaluations" | "prompts">;
  roles: { exporters: readonly unknown[] };
}

/** The remaining phases of a ladder, in order. */
export function ladderPhases(run: Plannable): Phase[] {
  const { ladder } = run.config;
  const [warm, rl, hosted] = [ladder.includes("warm_start"), ladder.includes("rl"), run.hosted !== null];
  return [
    ...measurements(run, "base"),
    ...untrained(run.config).flatMap((policy) => measurements(run, policy)),
    ...(searchesPrompt(run.config) && !run.recorded.prompts.has("prompt") ? [promptSearch(run)] : []),
    ...(hasPrompt(run) ? measurements(run, "prompt") : []),
    ...(warm && !run.recorded.policies.has("warm_start") ? supervised(run) : []),
    ...(warm && rl ? measurements(run, "warm_start") : []),
    ...(rl && !run.recorded.policies.has("tuned") ? reinforcement(run) : []),
    ...(hosted ? job(run) : []),
    ...(warm || rl || hosted ? measurements(run, "tuned") : []),
    ...closing(run),
  ];
}

/** The compared policies that the ladder does not make. */
export function untrained({ evaluate: { policies } }: Plannable["config"]): string[] {
  return policies.filter((policy) => !LADDER.includes(policy));
}

/** The remaining evaluations of one policy. */
export function measurements(run: Plannable, policy: string): Phase[] {
  return measurementsOf(run, policy).flatMap((one) => measurement(run, policy, one));
}

/** An evaluation of a policy, unless it is recorded. */
function measurement(run: Plannable, policy: string, one: Measurement | null): Phase[] {
  if (!one) return [];
  const { split, sampling, temperature = temperatureOf(run, sampling), scenarios, tries } = one;
  if (run.recorded.evaluations.has(evaluationKey({ policy, split, temperature }))) return [];
  return [{
    name: evaluationPhase(run, policy, one),
    kind: "rollout",
    counts: "rollouts",
    units: scenarios * tries,
    groups: { count: scenarios, size: tries },
  }];
}

/** The last phases of every run. */
export function closing(run: Plannable): Phase[] {
  const once = { counts: "steps", units: 1, guess: () => CLOSING_SECS } as const;
  const exports = run.roles.exporters.map(() => ({ name: "export", kind: "export", ...once }) as const);
  return [{ name: "verdict", kind: "verdict", ...once }, ...exports.slice(0, 1)];
}

/** Whether the ladder has a policy `prompt`: with examples of the pipeline, or those that it finds. */
export function hasPrompt({ config, agent }: Pick<Plannable, "config" | "agent">): boolean {
  return config.ladder.includes("prompt") && (agent.examples.length > 0 || searchesPrompt(config));
}

function promptSearch(run: Plannable): Phase {
  const { rollouts } = extentOf(run);
  const groups = { count: rollouts, size: 1 };
  return { name: SEARCH_PHASE, kind: "rollout", counts: "rollouts", units: rollouts, groups };
}

function supervised(run: Plannable): Phase[] {
  const { epochs, batch_size } = run.config.warm_start;
  const solutions = demonstrated(run).length;
  const steps = epochs * Math.ceil(solutions / batch_size) - run.recorded.step;
  return [
    { name: "replay", kind: "replay", counts: "rollouts", units: solutions, groups: { count: solutions, size: 1 } },
    { name: "warm start", kind: "supervised", counts: "steps", units: Math.max(0, steps) },
  ];
}

function reinforcement(run: Plannable): Phase[] {
  const { steps, groups_per_step, group_size, validate_every, validate_sampling } = run.config.train;
  const rollouts = groups_per_step * group_size;
  // Before the first step: estimated from the speeds of evaluation rollouts and warm-start rows.
  const guess = (speeds: Speeds) => {
    const [rollout, supervised] = [speeds("rollout"), speeds("supervised")];
    if (rollout === null || supervised === null) return null;
    return rollouts * (rollout + supervised / run.config.warm_start.batch_size);
  };
  const taken = Math.max(0, run.recorded.step - run.recorded.supervised_steps);
  const validations = validate_every > 0 ? Math.floor(steps / validate_every) - Math.floor(taken / validate_every) : 0;
  const units = validations * (validate_sampling?.length ?? 1) * count(run, "validation");
  const left = Math.max(0, steps - taken);
  const groups = { count: left * groups_per_step, size: group_size };
  return [
    ...measurement(run, firstPolicy(run.config), run.hosted ? null : probing(run)),
    { name: "rl", kind: "rl", counts: "steps", units: left, groups, guess, limited: true },
    {
      name: "validation",
      kind: "rollout",
      counts: "rollouts",
      units,
      groups: { count: units, size: 1 },
      within: "rl",
      limited: true,
    },
  ];
}

/** The duration of a service's job is unknown. */
function job(run: Plannable): Phase[] {
  if (run.recorded.policies.has("tuned")) return [];
  return [{ name: "job", kind: "job", counts: "steps", units: 1, guess: () => null }];
}

function count(run: Plannable, wanted: string): number {
  return run.scenarios.filter(({ split }) => split === wanted).length;
}
