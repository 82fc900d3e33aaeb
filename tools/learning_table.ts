/**
 * The table of `bench:learning`: success of each run, and the comparisons pooled over seeds. Pure; rollouts in,
 * Markdown out. The same held-out scenarios meet every seed, so a scenario with its seeds is one cluster.
 * @module
 */
import type { Interval } from "../pipeline/events.ts";
import type {
  Comparison,
  EvaluatedRollout,
  Metric,
  Verdict,
  VerdictConfig,
} from "../pipeline/verdict/verdict_types.ts";
import { plain, signed } from "../pipeline/verdict/sentence.ts";
import { verdictOver } from "../pipeline/verdict/verdict.ts";

/** One finished run of the benchmark. */
export interface LearningRun {
  /** `rewards as they are` or `rewards shuffled`; where trainers are compared, the trainer. */
  arm: string;
  seed: number;
  minutes: number;
  rollouts: EvaluatedRollout[];
}

const POLICIES = ["base", "warm_start", "tuned"];
const SAMPLINGS = ["greedy", "sampled"] as const;

/** One verdict over the runs of an arm: a run's tries become further tries of the same scenarios. */
export function pool(runs: readonly LearningRun[]): Verdict {
  const tries = 1 + Math.max(0, ...runs.flatMap((run) => run.rollouts.map((e) => e.try)));
  const rollouts = runs.flatMap((run, index) => run.rollouts.map((e) => ({ ...e, try: index * tries + e.try })));
  const config: VerdictConfig = {
    name: "bench:learning",
    seed: runs[0]?.seed ?? 0,
    evaluate: { policies: POLICIES, split: "heldout", tries: tries * runs.length, sampling: ["greedy"] },
  };
  return verdictOver(rollouts, config);
}

/** The table of all runs and pools, and a sentence per arm. */
export function learningTable(runs: readonly LearningRun[]): string {
  const head = ["run", "sampling", "base", "warm start", "tuned", "tuned − base", "tuned − warm start", "minutes"];
  const rows: string[][] = [];
  const sentences: string[] = [];
  for (const [arm, mine] of Map.groupBy(runs, (run) => run.arm)) {
    for (const run of mine) rows.push(...verdictRows(`${arm}, seed ${run.seed}`, pool([run]), run.minutes));
    const pooled = pool(mine);
    const minutes = mine.reduce((sum, run) => sum + run.minutes, 0);
    if (mine.length > 1) rows.push(...verdictRows(`**${arm}, ${mine.length} seeds pooled**`, pooled, minutes));
    sentences.push(`${arm}, pooled: ${pooled.sentence}`, ...pooled.notes.map((note) => `${arm}: ${note}`));
  }
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  const table = [line(head), `|${" --- |".repeat(head.length)}`, ...rows.map(line)].join("\n");
  return `${table}\n\n${sentences.map((sentence) => `- ${sentence.replaceAll("\n", " ")}`).join("\n")}\n\n` +
    "Success is the share of held-out scenarios solved; brackets are 95 % intervals over scenarios (Wilson for one " +
    "policy, Tango's paired score interval for differences; in the pools all seeds of a scenario are one cluster). " +
    "They do not cover the spread between training seeds, which the rows of the seeds show.";
}

/** By sampling: how far the gains (tuned − base) of the second arm lie from those of the first, seed by seed. */
export function gainsApart(runs: readonly LearningRun[]): string {
  const [first, second] = [...Map.groupBy(runs, (run) => run.arm)];
  if (!first || !second) return "The second trainer has no finished run to compare.";
  const lines = SAMPLINGS.flatMap((sampling) => {
    const apart = second[1].flatMap((run) => {
      const other = first[1].find(({ seed }) => seed === run.seed);
      const [mine, theirs] = [gain(run, sampling), other && gain(other, sampling)];
      return mine === undefined || theirs === undefined ? [] : [{ seed: run.seed, by: mine - theirs }];
    });
    if (apart.length === 0) return [];
    const mean = apart.reduce((sum, { by }) => sum + by, 0) / apart.length;
    const each = apart.map(({ seed, by }) => `seed ${seed} ${signed(by)}`).join(", ");
    return [`- ${sampling}: ${each}; mean ${signed(mean)} (wanted: within ±0.15).`];
  });
  return [`Gain (tuned − base) of ${second[0]} less that of ${first[0]}:`, "", ...lines].join("\n");
}

function gain(run: LearningRun, sampling: typeof SAMPLINGS[number]): number | undefined {
  return comparison(pool([run]), `${sampling}_success`, "base")?.mean;
}

function verdictRows(name: string, verdict: Verdict, minutes: number): string[][] {
  return SAMPLINGS.flatMap((sampling, index) => {
    const key = `${sampling}_success` as const;
    if (!POLICIES.some((policy) => verdict.policies[policy]?.[key])) return [];
    return [[
      index === 0 ? name : "",
      sampling,
      ...POLICIES.map((policy) => share(verdict.policies[policy]?.[key])),
      difference(verdict, key, "base"),
      difference(verdict, key, "warm_start"),
      index === 0 ? minutes.toFixed(0) : "",
    ]];
  });
}

function share(interval: Interval | undefined): string {
  if (!interval || interval.n === 0) return "–";
  return `${plain(interval.mean)} (${plain(interval.low)} to ${plain(interval.high)})`;
}

function comparison({ comparisons }: Verdict, metric: Metric, against: string): Comparison | undefined {
  return comparisons.find((c) => c.metric === metric && c.policy === "tuned" && c.against === against && c.n > 0);
}

function difference(verdict: Verdict, metric: Metric, against: string): string {
  const found = comparison(verdict, metric, against);
  if (!found) return "–";
  return `${signed(found.mean)} (${plain(found.low)} to ${plain(found.high)})`;
}

/** Puts `text` between the two marks of a document; adds them at its end where they are missing. */
export function replaceBetween(document: string, mark: string, text: string): string {
  const open = `<!-- ${mark} -->`, close = `<!-- /${mark} -->`;
  const block = `${open}\n${text}\n${close}`;
  const from = document.indexOf(open), to = document.indexOf(close);
  if (from < 0 || to < from) return `${document.trimEnd()}\n\n${block}\n`.trimStart();
  return document.slice(0, from) + block + document.slice(to + close.length);
}
