/**
 * Whether training had a signal to learn from, in plain words: figures over the rows of `SIGNAL_PER_STEP` and `INVALID`
 * (queries/signal_queries.ts), each with what to do about it. Pure.
 * @module
 */
import { counted } from "../../diagnostics/mod.ts";
import type { Interval } from "../../events.ts";
import { percent, significant } from "./chart.ts";
import type { HealthCheck } from "./report_types.ts";

/** A row of `SIGNAL_PER_STEP`; null where nothing is recorded. */
export type SignalStep = Record<
  | "step"
  | "groups"
  | "equal_groups"
  | "small_groups"
  | "rollouts"
  | "invalid"
  | "successes"
  | "truncated"
  | "capped"
  | "invalid_calls"
  | "call_turns"
  | "call_sequences"
  | "staleness"
  | "mismatch_abs"
  | "kl_base",
  number | null
>;

/** A row of `INVALID`. */
export interface InvalidRow {
  what: "judge" | "reward";
  stage: string | null;
  purpose: string;
  rollouts: number;
  of_rollouts: number;
  example: string;
}

/** What the checks need. */
export interface SignalFacts {
  steps: readonly SignalStep[];
  invalid: readonly InvalidRow[];
  /** Success of the tuned policy on scenarios that it was not trained on, sampled as in training; null if not evaluated. */
  unseen: Interval | null;
  /** `train.max_staleness`. */
  max_staleness: number;
}

/** Where a figure is watched, and where it calls for action; each with its reason. */
export const THRESHOLDS = {
  /** Every equal group is generation that trains nothing: beyond half, a step learns from less than half of its batch. */
  equal_groups: { watch: 0.3, act: 0.5 },
  /** Invalid rewards leave groups smaller and biased towards what can be judged; `train.max_invalid` ends the run later. */
  invalid_rewards: { watch: 0.02, act: 0.1 },
  /** Cut-off rollouts are judged by what they had reached: the reward then favours short attempts. */
  truncated: { watch: 0.1, act: 0.3 },
  /** A reply that ends at `agent.max_tokens` is most often half a call. */
  capped: { watch: 0.05, act: 0.2 },
  /** With more than a third of the calls invalid, RL mostly learns the format, which demonstrations teach cheaper. */
  invalid_calls: { watch: 0.1, act: 0.33 },
  /** Nats per token between sampler and trainer; bfloat16 kernels differ by 0.01 to 0.03, other tokens or templates by more. */
  mismatch: { watch: 0.05, act: 0.1 },
  /** Different sequences of calls per group: with one, the attempts of a group explore nothing. */
  call_sequences: { watch: 1.5, act: 1.1 },
  /** A judge that fails on one rollout in ten decides by its failures too. */
  judge_failures: { watch: 0.01, act: 0.1 },
  /** Success in training beyond the upper end of the interval on unseen scenarios. */
  overfit: { watch: 0.05, act: 0.2 },
} as const;

/** Steps at the end of training that stand for its outcome. */
const LAST_STEPS = 3;

/** Attempts that nearly all succeed may well call the same. */
const SOLVED = 0.9;

/** The checks that the records allow, in order of the way from rollouts to weights. */
export function signalHealth(facts: SignalFacts): HealthCheck[] {
  const { steps } = facts;
  const training = steps.length > 0
    ? [
      equalGroups(steps),
      invalidRewards(facts),
      truncated(steps),
      capped(steps),
      invalidCalls(steps),
      diversity(steps),
      mismatch(steps),
      staleness(facts),
    ]
    : [];
  return [...training, ...judgeFailures(facts), overfit(facts)].filter((check) => check !== null);
}

function sum(steps: readonly SignalStep[], name: keyof SignalStep): number {
  return steps.reduce((total, step) => total + (step[name] ?? 0), 0);
}

function means(steps: readonly SignalStep[], name: keyof SignalStep): number | null {
  const values = steps.flatMap((step) => step[name] ?? []);
  return values.length > 0 ? values.reduce((a, b) => a + b, 0) / values.length : null;
}

type Words = Record<"meaning" | "action", string>;

/** @param limits Where `act` is below `watch`, low values are bad. */
function check(
  name: string,
  value: number,
  limits: { watch: number; act: number },
  figure: string,
  { fine, meaning, action }: Words & { fine: string },
): HealthCheck {
  const beyond = (limit: number) => limits.act < limits.watch ? value <= limit : value >= limit;
  const state = beyond(limits.act) ? "act" : beyond(limits.watch) ? "watch" : "ok";
  return { name, state, figure, ...(state === "ok" ? { meaning: fine, action: "" } : { meaning, action }) };
}

function share(
  name: string,
  part: number,
  whole: number,
  unit: string,
  limits: { watch: number; act: number },
  words: Words & { fine: string },
): HealthCheck | null {
  if (whole === 0) return null;
  return check(name, part / whole, limits, `${part} of ${counted(whole, unit)} (${percent(part / whole)})`, words);
}

function equalGroups(steps: readonly SignalStep[]): HealthCheck | null {
  const [equal, small] = [sum(steps, "equal_groups"), sum(steps, "small_groups")];
  const solved = sum(steps, "successes") > sum(steps, "rollouts") / 2;
  return share("Groups without a signal", equal + small, sum(steps, "groups"), "group", THRESHOLDS.equal_groups, {
    fine: "Most groups had rewards that differ, so their rollouts could be compared.",
    meaning: `The rewards of these groups are all equal${
      small > 0 ? `, or too few are valid (${counted(small, "group")})` : ""
    }: nothing was learned from them.`,
    action: solved
      ? "The scenarios are too easy for the policy: set `train.difficulty`, or add harder ones."
      : "The scenarios are too hard, or the reward is all or nothing: set `train.difficulty` or " +
        "`train.replace_equal_groups`, or give partial scores.",
  });
}

function invalidRewards({ steps, invalid }: SignalFacts): HealthCheck | null {
  const [first] = invalid.filter(({ what, purpose }) => what === "reward" && purpose === "train");
  return share(
    "Invalid rewards",
    sum(steps, "invalid"),
    sum(steps, "rollouts"),
    "rollout",
    THRESHOLDS.invalid_rewards,
    {
      fine: "Nearly every rollout could be judged.",
      meaning: `These rollouts could not be judged and train nothing${first ? `; most often: ${first.example}` : ""}.`,
      action: "Mend the most frequent cause, which `hone query <run> @invalid` lists; `hone rejudge` then judges anew.",
    },
  );
}

function truncated(steps: readonly SignalStep[]): HealthCheck | null {
  const whole = sum(steps, "rollouts");
  return share("Rollouts that were cut off", sum(steps, "truncated"), whole, "rollout", THRESHOLDS.truncated, {
    fine: "Nearly all rollouts came to an end of their own.",
    meaning: "These rollouts ended at a limit of turns, tokens, context or time, not with an answer.",
    action: "Raise `agent.max_turns` or `agent.max_tokens`, or exclude them with `train.mask_truncated: true`.",
  });
}

function capped(steps: readonly SignalStep[]): HealthCheck | null {
  return share(
    "Replies at the token limit",
    sum(steps, "capped"),
    sum(steps, "rollouts"),
    "rollout",
    THRESHOLDS.capped,
    {
      fine: "Replies fit into `agent.max_tokens`.",
      meaning: "A reply of these rollouts was cut off at `agent.max_tokens`, often in the middle of a call.",
      action: "Raise `agent.max_tokens`.",
    },
  );
}

function invalidCalls(steps: readonly SignalStep[]): HealthCheck | null {
  const last = steps.slice(-LAST_STEPS);
  return share(
    `Invalid calls, last ${counted(last.length, "step")}`,
    sum(last, "invalid_calls"),
    sum(last, "call_turns"),
    "calling turn",
    THRESHOLDS.invalid_calls,
    {
      fine: "The policy has learned the format of calls.",
      meaning: "These turns were no readable call, or the call fitted no tool.",
      action: "Add `warm_start` to the ladder or raise `warm_start.demonstrations`; check `agent.tool_format`.",
    },
  );
}

function diversity(steps: readonly SignalStep[]): HealthCheck | null {
  const last = steps.slice(-LAST_STEPS);
  const value = means(last, "call_sequences");
  if (value === null) return null;
  const solved = sum(last, "successes") >= SOLVED * sum(last, "rollouts");
  return check(
    "Different call sequences per group",
    value,
    solved ? { watch: 0, act: -1 } : THRESHOLDS.call_sequences,
    `${significant(value)} in the last steps`,
    {
      fine: solved
        ? "Nearly all attempts succeed, so they may call the same."
        : "The attempts of a group differ in what they call.",
      meaning: "The attempts of a group call the same tools in the same order: there is little left to compare.",
      action: "Raise `train.temperature`, or lower `train.learning_rate`, before the policy collapses.",
    },
  );
}

function mismatch(steps: readonly SignalStep[]): HealthCheck | null {
  const value = means(steps, "mismatch_abs");
  if (value === null) return null;
  const kl = steps.at(-1)?.kl_base;
  return check(
    "Mismatch of sampler and trainer",
    value,
    THRESHOLDS.mismatch,
    `${significant(value)} nats per token${
      typeof kl === "number" ? `; KL from the base model ${significant(kl)}` : ""
    }`,
    {
      fine: "The trainer computes the probabilities that the tokens were sampled with.",
      meaning: "The trainer gives sampled tokens other probabilities than the sampler did: gradients are off-policy.",
      action: "Check that both use the same weights, precision and chat template; keep `train.loss.tis_cap` set.",
    },
  );
}

function staleness({ steps, max_staleness }: SignalFacts): HealthCheck | null {
  const seen = steps.flatMap(({ staleness }) => staleness ?? []);
  if (seen.length === 0) return null;
  const worst = Math.max(...seen);
  const state = worst > max_staleness ? "act" : worst > 1 ? "watch" : "ok";
  return {
    name: "Staleness",
    state,
    figure: `at most ${counted(worst, "policy version")}`,
    meaning: state === "ok"
      ? "Rollouts were trained on by the weights that sampled them, or by the next."
      : "Rollouts were sampled by weights several versions older than those that were trained.",
    action: state === "ok" ? "" : "Lower `train.max_staleness` if success falls while the mismatch grows.",
  };
}

function judgeFailures({ invalid }: SignalFacts): (HealthCheck | null)[] {
  const stages = Map.groupBy(invalid.filter(({ what }) => what === "judge"), ({ stage }) => stage ?? "");
  return [...stages].map(([stage, rows]) => {
    const purposes = new Map(rows.map(({ purpose, of_rollouts }) => [purpose, of_rollouts]));
    const whole = [...purposes.values()].reduce((a, b) => a + b, 0);
    const failed = rows.reduce((total, { rollouts }) => total + rollouts, 0);
    return share(`Failures of judge ${stage}`, failed, whole, "judgement", THRESHOLDS.judge_failures, {
      fine: `It judged nearly every rollout; most often it failed because: ${rows[0]!.example}.`,
      meaning: `It could not judge these rollouts; most often: ${rows[0]!.example}.`,
      action: "Mend the cause, then `hone rejudge <run>`: it needs no rollout.",
    });
  });
}

function overfit({ steps, unseen }: SignalFacts): HealthCheck | null {
  const last = steps.slice(-LAST_STEPS);
  const judged = sum(last, "rollouts") - sum(last, "invalid");
  if (judged === 0 || !unseen || unseen.n === 0) return null;
  const trained = sum(last, "successes") / judged;
  return check(
    "Success on training scenarios against unseen ones",
    trained - unseen.high,
    THRESHOLDS.overfit,
    `${percent(trained)} in the last ${counted(last.length, "step")}, ${percent(unseen.mean)} on unseen scenarios`,
    {
      fine: "What was learned carries over.",
      meaning: "Success on training scenarios is higher than on unseen ones by more than chance.",
      action: "Add training scenarios that differ, or stop earlier: `train.validate_every` chooses the checkpoint.",
    },
  );
}
