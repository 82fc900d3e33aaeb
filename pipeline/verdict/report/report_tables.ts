/**
 * The tables of a report, drawn alike as HTML and as Markdown. In a cell, a line break parts a figure from its interval.
 * @module
 */
import type { Interval } from "../../events.ts";
import { label, plain, signed } from "../sentence.ts";
import type { Breakdown, PolicySummary, Sampling, Verdict } from "../verdict_types.ts";
import { percent, significant } from "./chart.ts";
import type { Confusion, Cost, Setup } from "./report_types.ts";

/** One table; a cell for each head. */
export interface ReportTable {
  /** What the first column is. */
  corner: string;
  heads: string[];
  rows: [name: string, cells: string[]][];
}

/** Rows of the table of confusions that are shown. */
const CONFUSIONS = 15;

/** Figures of each policy. */
export function policyTable({ policies, sampling }: Verdict): ReportTable {
  const other = sampling === "greedy" ? "sampled" : "greedy";
  const k = Math.max(0, ...Object.values(policies).map(({ pass_at_k }) => pass_at_k.length));
  const attempts = Array.from({ length: Math.max(0, k - 1) }, (_, i) => i + 2);
  const at = (figures: PolicySummary["pass_at_k"], wanted: number) => interval(figures.find((one) => one.k === wanted));
  const rows: [string, (summary: PolicySummary) => string][] = [
    [`success, ${sampling}`, (s) => interval(s.success)],
    [`success, ${other}`, (s) => interval(s[`${other}_success`])],
    ...attempts.map((k): [string, (s: PolicySummary) => string] => [`pass@${k}`, (s) => at(s.pass_at_k, k)]),
    ...attempts.map((k): [string, (s: PolicySummary) => string] => [`pass^${k}`, (s) => at(s.pass_hat_k, k)]),
    ["ended by the agent itself", (s) => interval(s.completion)],
    ["reward", (s) => interval(s.reward)],
    ["turns", (s) => mean(s.means.turns)],
    ["tool calls", (s) => mean(s.means.tool_calls)],
    ["invalid calls", (s) => mean(s.means.invalid_calls)],
    ["calls of tools that do not exist", (s) => mean(s.means.hallucinated_tools)],
    ["invalid call rate", (s) => s.invalid_call_rate === null ? "–" : percent(s.invalid_call_rate)],
    ["success after an error", (s) => s.error_recovery ? `${interval(s.error_recovery)} (${s.error_recovery.n})` : "–"],
    ["with shortened history", (s) => s.shortened ? percent(s.shortened) : "–"],
    ["tokens read", (s) => mean(s.means.prompt_tokens)],
    ["tokens written", (s) => mean(s.means.output_tokens)],
    ["US dollars", (s) => s.usd === null ? "–" : significant(s.usd)],
    ["seconds, mean", (s) => s.seconds?.toFixed(1) ?? "–"],
    ["seconds, median", (s) => s.latency?.p50.toFixed(1) ?? "–"],
    ["seconds, 90th percentile", (s) => s.latency?.p90.toFixed(1) ?? "–"],
    ["rollouts that count", (s) => `${s.rollouts.counted} of ${s.rollouts.total}`],
  ];
  return {
    corner: "per rollout",
    heads: Object.keys(policies).map(title),
    rows: rows.map(([name, value]): [string, string[]] => [name, Object.values(policies).map(value)])
      .filter(([, cells]) => cells.some((text) => text !== "–")),
  };
}

/** What RL learned on validation, and what of it carries over to held-out scenarios. */
export function learnedTable({ validation, policies, comparisons, sampling }: Verdict): ReportTable | null {
  if (!validation) return null;
  const { policy, against } = validation.difference;
  const heldout = comparisons.find((c) => c.metric === "success" && c.policy === policy && c.against === against);
  const row = (name: string, successes: (Interval | undefined)[], { mean, low, high, n }: Interval) => {
    const difference = `${signed(mean)}\n${plain(low)} to ${plain(high)}`;
    return [name, [...successes.map(interval), difference, String(n)]] as [string, string[]];
  };
  return {
    corner: `success, ${sampling}`,
    heads: [title(against), title(policy), "Difference", "Pairs"],
    rows: [
      row("validation", [validation.policies[against], validation.policies[policy]], validation.difference),
      ...(heldout ? [row("held-out", [policies[against]?.success, policies[policy]?.success], heldout)] : []),
    ],
  };
}

/** The checkpoints that were validated, and the one that was chosen. */
export function checkpointTable({ selection }: Verdict): ReportTable | null {
  if (!selection || selection.checkpoints.length === 0) return null;
  const samplings = (["greedy", "sampled"] as const).filter((s) => selection.checkpoints.some((c) => c.success[s]));
  return {
    corner: "after RL step",
    heads: [...samplings.map((s) => `Success, ${s}`), "Chosen"],
    rows: selection.checkpoints.map(({ step, success, chosen }) => [
      String(step),
      [...samplings.map((s) => interval(success[s])), chosen ? "✓" : ""],
    ]),
  };
}

/** How the checkpoint was chosen, in words. */
export const RULES: Record<NonNullable<Verdict["selection"]>["rule"], string> = {
  highest: "the highest success on validation",
  one_standard_error: "the earliest within one standard error of the highest success on validation",
};

/** Success by tag, one table for each sampling. */
export function tagTables({ by_tag, policies }: Verdict): [Sampling, ReportTable][] {
  return breakdownTables("tag", by_tag.map(({ tag, ...rest }) => [tag, rest]), Object.keys(policies));
}

/** Success by tools, one table for each sampling. */
export function toolTables({ by_tools, policies }: Verdict): [Sampling, ReportTable][] {
  const rows = by_tools.map(({ tools, ...rest }): [string, Breakdown] => [
    tools === null ? "not known" : tools.join(" + ") || "no tool",
    rest,
  ]);
  // One row says nothing that the whole does not.
  return rows.length < 2 ? [] : breakdownTables("tools of the scenario", rows, Object.keys(policies));
}

function breakdownTables(corner: string, rows: [string, Breakdown][], names: string[]): [Sampling, ReportTable][] {
  return (["greedy", "sampled"] as const).flatMap((sampling): [Sampling, ReportTable][] => {
    const some = rows.some(([, { policies }]) => names.some((name) => policies[name]?.[sampling]));
    if (!some) return [];
    return [[sampling, {
      corner,
      heads: names.map(title),
      rows: rows.map(([name, { scenarios, policies }]) => [
        `${name} (${scenarios})`,
        names.map((policy) => interval(policies[policy]?.[sampling])),
      ]),
    }]];
  });
}

/** Tools that were called in place of those of the reference solution. */
export function confusionTable(confusion: readonly Confusion[], { policies }: Verdict): ReportTable | null {
  if (confusion.length === 0) return null;
  return {
    corner: "wanted → called",
    heads: [...Object.keys(policies).map(title), "Example"],
    rows: confusion.slice(0, CONFUSIONS).map(({ expected, taken, policies: counts, example_scenario }) => [
      `${expected} → ${taken ?? "no call"}`,
      [...Object.keys(policies).map((policy) => String(counts[policy] ?? "–")), example_scenario],
    ]),
  };
}

/** Success on the suites. */
export function suiteTable({ suites = [], policies }: Verdict): ReportTable | null {
  if (suites.length === 0) return null;
  const names = Object.keys(policies);
  return {
    corner: "suite",
    heads: [...names.map(title), "Difference"],
    rows: suites.map(({ suite, scenarios, policies, difference }) => [
      `${suite} (${scenarios})`,
      [
        ...names.map((name) => interval(policies[name])),
        difference ? `${signed(difference.mean)}\n${plain(difference.low)} to ${plain(difference.high)}` : "–",
      ],
    ]),
  };
}

/** What the run spent. */
export function costTable(costs: readonly Cost[]): ReportTable | null {
  if (costs.length === 0) return null;
  const figure = (value: number | null) => value === null ? "–" : significant(value);
  const priced = costs.some(({ usd }) => usd !== null);
  return {
    corner: "spent on",
    heads: ["Times", "Minutes", "Tokens read", "Tokens written", ...(priced ? ["US dollars"] : [])],
    rows: costs.map(({ spent_on, times, seconds, prompt_tokens, output_tokens, usd }) => [
      spent_on,
      [
        times.toLocaleString("en"),
        (seconds / 60).toFixed(1),
        figure(prompt_tokens),
        figure(output_tokens),
        ...(priced ? [figure(usd)] : []),
      ],
    ]),
  };
}

/** Servers, machine and settings, by name. */
export function setupRows({ servers, machine, settings, demonstrations }: Setup): [string, string][] {
  const at = (name: string) => settings.filter(([one]) => one === name);
  return [
    ...at("model"),
    ...servers.map(({ name, implementation, version, transport, protocol }): [string, string] => [
      `server ${name}`,
      `${implementation} ${version} (${transport}, protocol ${protocol})`,
    ]),
    ...(machine
      ? [[
        "machine",
        `${machine.cpu}, ${machine.cores} cores, ${gigabytes(machine.memory_bytes)} GB; ${machine.os}`,
      ]] as [
        string,
        string,
      ][]
      : []),
    ...(demonstrations > 0 ? [["demonstrations", `${demonstrations} verified`]] as [string, string][] : []),
    ...settings.filter(([name]) => name !== "model"),
  ];
}

/** Floor, ceiling, sample size, what is worse, and what is exported: one sentence each. */
export function findings(
  { floor, ceiling, needed_scenarios, worse, export: exported, time_to_target }: Verdict,
): string[] {
  const n = (names: string[]) =>
    names.length > 5 ? `${names.slice(0, 5).join(", ")} and ${names.length - 5} more` : names.join(", ");
  return [
    exported && `Exported: ${label(exported.policy)}. ${exported.reason}`,
    worse.length > 0 &&
    `Worse on: ${
      worse.map(({ kind, name, difference }) => `${kind} ${name}${difference ? ` (${signed(difference.mean)})` : ""}`)
        .join(", ")
    }.`,
    needed_scenarios &&
    `To show the observed difference with a probability of ${percent(needed_scenarios.power)}, ` +
      `${needed_scenarios.scenarios.toLocaleString("en")} scenarios are needed.`,
    floor &&
    `Doing nothing solves ${percent(floor.success.mean)} of the scenarios${
      floor.satisfied.length > 0 ? `: ${n(floor.satisfied)}` : ""
    }.`,
    ceiling &&
    `The reference solutions solve ${percent(ceiling.success.mean)}${
      ceiling.unsolved.length > 0 ? `; not ${n(ceiling.unsolved)}` : ""
    }.`,
    time_to_target &&
    (time_to_target.reached
      ? `Success on validation reached ${percent(time_to_target.target)} after ${
        (time_to_target.reached.seconds / 60).toFixed(1)
      } minutes and ${time_to_target.reached.rollouts.toLocaleString("en")} rollouts (${
        label(time_to_target.reached.policy)
      }).`
      : `Success on validation never reached ${percent(time_to_target.target)}.`),
  ].filter((text) => typeof text === "string");
}

/** A policy's name as a heading. */
export function title(policy: string): string {
  return { base: "Base", warm_start: "Warm start", tuned: "Tuned", prompt: "Prompt" }[policy] ?? policy;
}

/** A figure, and after a line break its interval. */
export function interval(of: Interval | undefined): string {
  return !of || of.n === 0 ? "–" : `${plain(of.mean)}\n${plain(of.low)} to ${plain(of.high)}`;
}

function mean(of: Interval): string {
  return of.n === 0 ? "–" : `${significant(of.mean)}\n${significant(of.low)} to ${significant(of.high)}`;
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(0);
}
