/**
 * The verdict in plain words. Says "gain" only where the interval of the paired difference lies above zero, and says
 * as plainly when it does not, when RL added nothing to the warm start, and when training was not needed at all.
 * @module
 */
import { counted } from "../diagnostics/mod.ts";
import type { Interval } from "../events.ts";
import { enoughPrompt, MIN_SCENARIOS } from "./outcome.ts";
import type { Comparison, Difference, Findings } from "./verdict_types.ts";

/** Writes the closing words of a verdict. */
export function sentence(findings: Findings): string {
  const { policies, difference, outcome } = findings;
  if (outcome === "not_measured") {
    return `Nothing can be said: not one ${unit(findings, 1)} was judged.${exclusions(findings)}`;
  }
  if (!difference) {
    const only = Object.keys(policies)[0]!;
    const enough = outcome === "prompting_is_enough" ? "Do not train: prompting is enough. " : "";
    return `${enough}${capital(label(only))} solves ${count(findings, only, true)}: ${
      share(policies[only]!.success)
    }. ` +
      `No other policy was evaluated, so there is nothing to compare.${exclusions(findings)}`;
  }
  const claims = difference.scenarios < MIN_SCENARIOS
    ? ""
    : reinforcement(findings, difference) + learned(findings) + worseOn(findings, difference);
  return main(findings, difference) + more(findings) + claims + sampled(findings) + bounds(findings) +
    exclusions(findings);
}

/** The name of a policy as a sentence uses it. */
export function label(policy: string): string {
  return { warm_start: "the warm start", prompt: "the prompt" }[policy] ?? policy;
}

/** A signed figure with two decimals: `+0.64`, `-0.03`, `0.00`. */
export function signed(value: number): string {
  const text = plain(value);
  return Number(text) > 0 ? `+${text}` : text;
}

/** Two decimals, without a minus before zero. */
export function plain(value: number): string {
  const text = value.toFixed(2);
  return text === "-0.00" ? "0.00" : text;
}

function main(findings: Findings, difference: Difference): string {
  const { policy, against } = difference;
  if (difference.n === 0) {
    return `Nothing can be compared: ${label(policy)} and ${label(against)} share no judged ${unit(findings, 1)}.`;
  }
  const counts = `${label(policy)} solves ${count(findings, policy, true)}, ` +
    `${label(against)} ${count(findings, against, false)}`;
  // An interval of a handful of pairs would pass for evidence.
  if (difference.scenarios < MIN_SCENARIOS) return `Too few scenarios for a claim: ${counts}.`;
  const figures = `${counts}: ${signed(difference.mean)} ${inWords(difference)}.`;
  switch (findings.outcome) {
    case "prompting_is_enough": {
      const prompt = enoughPrompt(findings)!;
      return `Do not train: prompting is enough, ${label(prompt)} solves ${count(findings, prompt, true)}; ${figures}`;
    }
    case "improved":
      return capital(figures);
    case "worse":
      // Another model, or a prompt, has no adapter.
      if (!["warm_start", "tuned"].includes(policy)) return `${capital(label(policy))} is worse: ${figures}`;
      return `Training made it worse: ${figures} Do not use this adapter.`;
    default:
      return `No measurable gain: ${figures}`;
  }
}

/** The number of scenarios that would be enough, where these are not. */
function more({ outcome, difference, needed_scenarios }: Findings): string {
  if (outcome === "prompting_is_enough" || difference!.n === 0) return "";
  if (difference!.scenarios < MIN_SCENARIOS) {
    return ` More scenarios needed: at least ${needed_scenarios?.scenarios ?? MIN_SCENARIOS}.`;
  }
  if (!needed_scenarios) return "";
  const { scenarios } = needed_scenarios;
  return ` More scenarios needed: about ${rounded(scenarios)} would show a difference of this size.`;
}

/** Two significant digits: what the figure is worth. */
function rounded(value: number): string {
  return Number(value.toPrecision(2)).toLocaleString("en");
}

/** What became worse, up to three names of a kind. */
function worseOn({ worse, tries }: Findings, { policy, against }: Difference): string {
  const lost = tries > 1
    ? `which ${label(against)} solves in every attempt and ${label(policy)} in none`
    : `which ${label(against)} solves and ${label(policy)} does not`;
  return (["tag", "suite", "scenario"] as const).map((kind) => {
    const names = worse.filter((one) => one.kind === kind).map(({ name }) => name);
    if (names.length === 0) return "";
    const these = names.length === 1 ? `this ${kind}` : `these ${counted(names.length, kind)}`;
    const shown = names.slice(0, 3).join(", ") + (names.length > 3 ? `, and ${names.length - 3} more` : "");
    return kind === "scenario" ? ` Worse on ${these}, ${lost}: ${shown}.` : ` Measurably worse on ${these}: ${shown}.`;
  }).join("");
}

/** What doing nothing and the reference solutions reach. */
function bounds({ floor, ceiling, split }: Findings): string {
  const where = split === "heldout" ? "held-out" : split;
  const idle = floor && floor.satisfied.length > 0
    ? ` Doing nothing already satisfies ${counted(floor.satisfied.length, `${where} scenario`)}.`
    : "";
  const unsolved = ceiling && ceiling.unsolved.length > 0
    ? ` The reference solution itself fails in ${counted(ceiling.unsolved.length, `${where} scenario`)}.`
    : "";
  return idle + unsolved;
}

/** What RL adds to the warm start; always said when both exist. */
function reinforcement(findings: Findings, difference: Difference): string {
  const added = successOf(findings, "tuned", "warm_start");
  const alone = successOf(findings, "warm_start", difference.against);
  if (difference.policy !== "tuned" || !added || !alone || added.n === 0) return "";
  const range = `(${plain(added.low)} to ${plain(added.high)})`;
  const start = ` The warm start alone gives ${signed(alone.mean)}`;
  if (added.low > 0) return `${start}; RL adds ${signed(added.mean)} ${range}.`;
  if (added.high < 0) return `${start}; RL took away ${plain(-added.mean)} ${range}: use the warm start.`;
  return `${start}; RL did not measurably improve on the warm start: ${signed(added.mean)} ${range}.`;
}

/** What RL did on validation, and whether that carries over to held-out scenarios. */
function learned(findings: Findings): string {
  const { validation } = findings;
  if (!validation) return "";
  const { policy, against, mean, low, high, n, scenarios } = validation.difference;
  if (scenarios < MIN_SCENARIOS) return "";
  const range = `(${plain(low)} to ${plain(high)})`;
  const where = ` On ${n} validation ${n === 1 ? "scenario" : "scenarios"} RL`;
  if (high < 0) return `${where} took away ${plain(-mean)} ${range}.`;
  if (low <= 0) return `${where} gave no measurable gain: ${signed(mean)} ${range}.`;
  const carried = successOf(findings, policy, against);
  return `${where} adds ${signed(mean)} ${range}: it learned${carriedOver(carried)}.`;
}

function carriedOver(heldout: Interval | undefined): string {
  if (!heldout || heldout.n === 0) return "";
  if (heldout.low > 0) return ", and this carries over to held-out scenarios";
  if (heldout.high < 0) return ", but at the expense of held-out scenarios";
  return ", but this does not measurably carry over to held-out scenarios";
}

/** The other sampling, if it was evaluated too. */
function sampled({ policies, sampling }: Findings): string {
  const other = sampling === "greedy" ? "sampled_success" : "greedy_success";
  const parts = Object.entries(policies).flatMap(([name, summary]) => {
    const success = summary[other];
    return success ? [`${label(name)} ${plain(success.mean)}`] : [];
  });
  if (parts.length < 2) return "";
  return ` ${other === "sampled_success" ? "When sampling" : "When greedy"}, success is: ${parts.join(", ")}.`;
}

function exclusions({ policies }: Findings): string {
  const causes = new Map<string, number>();
  let total = 0;
  for (const { rollouts } of Object.values(policies)) {
    total += rollouts.total;
    for (const [cause, n] of Object.entries(rollouts.excluded)) causes.set(cause, (causes.get(cause) ?? 0) + n);
  }
  const left = [...causes.values()].reduce((a, b) => a + b, 0);
  if (left === 0) return "";
  const list = [...causes].slice(0, 3).map(([cause, n]) => `${cause}: ${n}`).join("; ");
  const more = causes.size > 3 ? `; ${causes.size - 3} more causes` : "";
  return ` ${left} of ${total} rollouts could not be judged and are left out (${list}${more}).`;
}

function successOf(findings: Findings, policy: string, against: string): Comparison | undefined {
  return findings.comparisons.find((c) => c.metric === "success" && c.policy === policy && c.against === against);
}

function count(findings: Findings, policy: string, long: boolean): string {
  const { mean, n } = findings.policies[policy]!.success;
  const solved = Math.round(mean * n);
  const same = n === Math.max(...Object.values(findings.policies).map((summary) => summary.success.n));
  if (!long) return same ? String(solved) : `${solved} of ${n}`;
  return `${solved} of ${n} ${unit(findings, n)}`;
}

function unit({ split, tries, scenarios }: Findings, n: number): string {
  const where = split === "heldout" ? "held-out" : split;
  const noun = n === 1 ? "scenario" : "scenarios";
  return tries > 1 && n !== 1 ? `tries at ${scenarios} ${where} scenarios` : `${where} ${noun}`;
}

function share(interval: Interval): string {
  return `${plain(interval.mean)} ${inWords(interval)}`;
}

function inWords({ low, high }: Interval): string {
  return `(95 % interval ${plain(low)} to ${plain(high)})`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
