/**
 * The verdict in plain words. Says "gain" only where the interval of the paired difference lies above zero, and says
 * as plainly when it does not, when RL added nothing to the warm start, and when training was not needed at all.
 * @module
 */
import type { Interval } from "../events.ts";
import type { Comparison, Verdict } from "./verdict_types.ts";

/** From this success on, a prompt that training does not measurably beat is called enough. */
const ENOUGH = 0.9;

/** What the sentence is made from. */
export type Findings = Omit<Verdict, "schema" | "run" | "run_id" | "sentence" | "notes">;

/** Writes the closing words of a verdict. */
export function sentence(findings: Findings): string {
  const { policies, difference } = findings;
  const names = Object.keys(policies);
  if (names.every((name) => policies[name]!.success.n === 0)) {
    return `Nothing can be said: not one ${unit(findings, 1)} was judged.${exclusions(findings)}`;
  }
  if (!difference) {
    const only = names[0]!;
    const { mean, low } = policies[only]!.success;
    // A handful of scenarios is no ground for advice.
    const enough = mean >= ENOUGH && low >= 0.5 ? "Do not train: prompting is enough. " : "";
    return `${enough}${capital(label(only))} solves ${count(findings, only, true)}: ${
      share(policies[only]!.success)
    }. ` +
      `No other policy was evaluated, so there is nothing to compare.${exclusions(findings)}`;
  }
  return main(findings, difference) + reinforcement(findings, difference) + learned(findings) + sampled(findings) +
    exclusions(findings);
}

/** The name of a policy as a sentence uses it. */
export function label(policy: string): string {
  return { warm_start: "the warm start", prompt: "the prompt with examples" }[policy] ?? policy;
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

function main(findings: Findings, difference: NonNullable<Verdict["difference"]>): string {
  const { policy, against } = difference;
  if (difference.n === 0) {
    return `Nothing can be compared: ${label(policy)} and ${label(against)} share no judged ${unit(findings, 1)}.`;
  }
  const figures = `${label(policy)} solves ${count(findings, policy, true)}, ` +
    `${label(against)} ${count(findings, against, false)}: ${signed(difference.mean)} ` +
    `(95 % interval ${plain(difference.low)} to ${plain(difference.high)}).`;
  const prompt = findings.policies.prompt ? "prompt" : "base";
  const prompted = findings.policies[prompt];
  const beyond = policy === prompt ? 0 : successOf(findings, policy, prompt)?.low ?? 1;
  if (prompted && prompted.success.mean >= ENOUGH && beyond <= 0) {
    return `Do not train: prompting is enough, ${label(prompt)} solves ${count(findings, prompt, true)}; ${figures}`;
  }
  if (difference.low > 0) return capital(figures);
  if (difference.high < 0) return `Training made it worse: ${figures} Do not use this adapter.`;
  return `No measurable gain: ${figures}`;
}

/** What RL adds to the warm start; always said when both exist. */
function reinforcement(findings: Findings, difference: NonNullable<Verdict["difference"]>): string {
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
  const { policy, against, mean, low, high, n } = validation.difference;
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

function share({ mean, low, high }: Interval): string {
  return `${plain(mean)} (95 % interval ${plain(low)} to ${plain(high)})`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
