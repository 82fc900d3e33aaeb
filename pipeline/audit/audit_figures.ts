/**
 * Measures a judge on recorded rollouts: whether it agrees with checks, with people and with another judge, whether the
 * order in which it is shown rollouts matters, and what it says of canaries. The judge is asked through its role, so
 * that any judge can be audited.
 * @module
 */
import type { Interval, Judgement, Trajectory } from "../events.ts";
import { agreement, type Ratings } from "../stats/agreement.ts";
import { bootstrapMean } from "../stats/bootstrap.ts";
import { clusteredProportion, wilson } from "../stats/proportion.ts";
import { tally } from "../verdict/summary.ts";
import type { AgreementFigures, AuditFigures, CanaryFigures } from "./audit_types.ts";
import { CANARIES, type Canary, confidentWrong, decorated, empty, padded } from "./canaries.ts";
import type { AuditedGroup } from "./sample.ts";

/** Something that says of rollouts how good they are: null of those that it says nothing about. */
export interface Rater {
  value(rollout_id: string): number | null;
  /** The value from which a rollout counts as a success. */
  success_at: number;
}

/** A judge to be asked. */
export interface AuditedJudge {
  scale: "absolute" | "relative";
  success_at: number;
  /** Judges a group; throws only if the audit is stopped. */
  ask(audited: AuditedGroup): Promise<Judgement[]>;
  /** Whether it reads an observation of the environment, of which canaries have none. */
  observes: boolean;
}

/** What is audited, and with what it is compared. */
export interface AuditArgs {
  groups: AuditedGroup[];
  judge: AuditedJudge;
  second?: AuditedJudge;
  checks: Rater;
  people: Rater;
  seed: number;
  /** Does tasks side by side. */
  all<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]>;
}

/** Measures the judge. */
export async function audit(args: AuditArgs): Promise<AuditFigures> {
  const { groups, judge, second, checks, people, all } = args;
  const said = await all(groups, judge.ask);
  const mine: Rater = { ...raterOf(groups, said), success_at: judge.success_at };
  const reversed = await all(
    groups,
    async ({ scenario, group }) => (await judge.ask({ scenario, group: group.toReversed() })).toReversed(),
  );
  const canaries = judge.observes ? null : await canaryFigures(args, mine);
  const theirs = second && { ...raterOf(groups, await all(groups, second.ask)), success_at: second.success_at };
  const relative = judge.scale === "relative";
  const every = [...said, ...reversed, ...canaries?.judgements ?? []].flat();
  const invalid = every.flatMap((one) => "invalid" in one ? [one.invalid] : []);
  return {
    checks: agreementWith(groups, mine, checks, relative),
    order: orderFlips(groups, said, reversed),
    canaries: canaries?.figures ?? { empty: null, confident_wrong: null, decorated: null, padded: null },
    second: theirs ? agreementWith(groups, mine, theirs, relative || second.scale === "relative") : null,
    human: agreementWith(groups, mine, people, relative),
    judgements: { total: every.length, invalid: invalid.length, cause: Object.keys(tally(invalid))[0] ?? null },
  };
}

/** Times that a judge is asked about a group, at most, and the rollouts that are new in them. */
export function asks({ groups, judge }: Pick<AuditArgs, "groups" | "judge">): { groups: number; rollouts: number } {
  const rollouts = groups.reduce((sum, { group }) => sum + group.length, 0);
  const each = judge.observes ? 2 : 2 + CANARIES.length;
  return { groups: groups.length * each, rollouts: rollouts + (judge.observes ? 0 : groups.length * CANARIES.length) };
}

function raterOf(groups: AuditedGroup[], said: Judgement[][]): Pick<Rater, "value"> {
  const scores = new Map(
    groups.flatMap(({ group }, g) => group.map(({ rollout_id }, i) => [rollout_id, scoreOf(said[g]![i])] as const)),
  );
  return { value: (rollout_id) => scores.get(rollout_id) ?? null };
}

function scoreOf(judgement: Judgement | undefined): number | null {
  return judgement && "score" in judgement ? judgement.score : null;
}

/** Null if there is nothing that both say something about. */
function agreementWith(groups: AuditedGroup[], mine: Rater, other: Rater, pairwise: boolean): AgreementFigures | null {
  if (pairwise) {
    const alike = groups.map(({ group }) => pairsOf(group, mine, other).map(([a, b]) => Math.sign(a) === Math.sign(b)));
    const figures = clusteredProportion(alike);
    return figures.n === 0 ? null : { ...figures, of: "pairs", kappa: null };
  }
  const ratings = groups.map(({ group }) =>
    group.flatMap(({ rollout_id }): Ratings[] => {
      const [a, b] = [mine.value(rollout_id), other.value(rollout_id)];
      return a === null || b === null ? [] : [[a >= mine.success_at - 1e-9, b >= other.success_at - 1e-9]];
    })
  );
  const { accuracy, kappa } = agreement(ratings);
  return accuracy.n === 0 ? null : { ...accuracy, of: "rollouts", kappa };
}

/** Differences that both see between the rollouts of a pair, of those that are unequal to the other. */
function pairsOf(group: Trajectory[], mine: Rater, other: Rater): [number, number][] {
  return pairs(group).flatMap(([a, b]): [number, number][] => {
    const of = ({ value }: Rater) => {
      const [first, second] = [value(a.rollout_id), value(b.rollout_id)];
      return first === null || second === null ? null : first - second;
    };
    const [seen, true_difference] = [of(mine), of(other)];
    return seen === null || true_difference === null || true_difference === 0 ? [] : [[seen, true_difference]];
  });
}

function pairs<T>(items: readonly T[]): [T, T][] {
  return items.flatMap((a, i) => items.slice(i + 1).map((b): [T, T] => [a, b]));
}

function orderFlips(groups: AuditedGroup[], said: Judgement[][], reversed: Judgement[][]): Interval | null {
  const flips = groups.map(({ group }, g) =>
    pairs(group.map((_, i) => i)).flatMap(([a, b]) => {
      const difference = (judged: Judgement[]) => {
        const [first, second] = [scoreOf(judged[a]), scoreOf(judged[b])];
        return first === null || second === null ? null : first - second;
      };
      const [before, after] = [difference(said[g]!), difference(reversed[g]!)];
      return before === null || after === null ? [] : [before * after < 0];
    })
  );
  const rate = clusteredProportion(flips);
  return rate.n === 0 ? null : rate;
}

/** One judged canary: the figure that it contributes. */
interface JudgedCanary {
  value: number | null;
  above: number | null;
  judgements: Judgement[];
}

async function canaryFigures(args: AuditArgs, mine: Rater) {
  const judgements: Judgement[][] = [];
  const figures = {} as Record<Canary, CanaryFigures | null>;
  for (const kind of CANARIES) {
    const made = await args.all(args.groups, (audited) => judgedCanary(args, kind, audited, mine));
    judgements.push(...made.map((one) => one.judgements));
    const values = made.flatMap(({ value }) => value === null ? [] : [value]);
    const interval = isIdle(kind)
      // Of scores from 0 to 1, none vary more than those that are all 0 or 1: too wide, if anything.
      ? wilson(values.reduce((sum, value) => sum + value, 0), values.length)
      : bootstrapMean(values.map((value) => [value]), { seed: args.seed });
    const above = made.flatMap((one) => one.above === null ? [] : [one.above]);
    const share = above.length > 0 ? above.reduce((sum, one) => sum + one, 0) / above.length : null;
    figures[kind] = interval.n === 0 ? null : { ...interval, above: share };
  }
  return { figures, judgements };
}

async function judgedCanary(
  args: AuditArgs,
  kind: Canary,
  { scenario, group }: AuditedGroup,
  mine: Rater,
): Promise<JudgedCanary> {
  const nothing = { value: null, above: null, judgements: [] };
  if (isIdle(kind)) {
    const canary = kind === "empty" ? empty(group[0]!) : confidentWrong(group[0]!, otherAnswer(args, scenario.id));
    const judgements = await args.judge.ask({ scenario, group: [...group, named(canary, kind)] });
    const value = scoreOf(judgements.at(-1));
    const others = judgements.slice(0, -1).map(scoreOf).filter((score) => score !== null);
    const lower = others.filter((score) => value !== null && score < value).length;
    return { value, above: value === null || others.length === 0 ? null : lower / others.length, judgements };
  }
  const change = kind === "decorated" ? decorated : padded;
  const index = group.findIndex((trajectory) => change(trajectory) !== null);
  if (index < 0) return nothing;
  const changed = named(change(group[index]!)!, kind);
  const judgements = await args.judge.ask({ scenario, group: group.with(index, changed) });
  const [before, after] = [mine.value(group[index]!.rollout_id), scoreOf(judgements[index])];
  return { value: before === null || after === null ? null : after - before, above: null, judgements };
}

function isIdle(kind: Canary): kind is "empty" | "confident_wrong" {
  return kind === "empty" || kind === "confident_wrong";
}

function named(canary: Trajectory, kind: Canary): Trajectory {
  return { ...canary, rollout_id: `${canary.rollout_id}-${kind}` };
}

/** An answer to another task of the sample that nobody gave to this one. */
function otherAnswer({ groups }: AuditArgs, scenario_id: string): string | undefined {
  const answers = (mine: boolean) =>
    groups.filter(({ scenario }) => (scenario.id === scenario_id) === mine)
      .flatMap(({ group }) => group.map(({ outcome }) => outcome.answer?.trim() ?? ""));
  const given = new Set(answers(true));
  return answers(false).find((answer) => answer !== "" && !given.has(answer));
}
