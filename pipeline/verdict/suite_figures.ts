/**
 * Suites in a verdict: success on further scenarios, beside the verdict's own figures and never part of them.
 * @module
 */
import { significant } from "./outcome.ts";
import { plain, signed } from "./sentence.ts";
import type { SuiteSummary, Verdict, Worse } from "./verdict_types.ts";

/** The verdict with those of its suites, by name. */
export function withSuites(verdict: Verdict, suites: Record<string, Verdict>): Verdict {
  const names = Object.keys(suites);
  if (names.length === 0) return verdict;
  const worse = names.flatMap((name): Worse[] => {
    const difference = suites[name]!.difference;
    return difference && significant(difference) && difference.high < 0 ? [{ kind: "suite", name, difference }] : [];
  });
  const these = worse.length === 1 ? "this suite" : `these ${worse.length} suites`;
  const said = worse.length > 0 ? ` Measurably worse on ${these}: ${worse.map(({ name }) => name).join(", ")}.` : "";
  return {
    ...verdict,
    suites: names.map((name) => summaryOf(name, suites[name]!)),
    worse: [...verdict.worse, ...worse],
    sentence: verdict.sentence + said,
    notes: [...verdict.notes, ...names.map((name) => `Suite ${name}: ${inWords(suites[name]!)}`)],
  };
}

function summaryOf(suite: string, { scenarios, policies, difference }: Verdict): SuiteSummary {
  const success = Object.entries(policies).map(([name, { success }]) => [name, success] as const);
  return { suite, scenarios, policies: Object.fromEntries(success), difference };
}

function inWords({ policies, difference, scenarios }: Verdict): string {
  const figures = Object.entries(policies).map(([name, { success }]) => `${name} ${plain(success.mean)}`).join(", ");
  if (!difference) return `${figures || "nothing was evaluated"} (${scenarios} scenarios).`;
  const { policy, against, mean, low, high } = difference;
  return `${figures} (${scenarios} scenarios); ${policy} minus ${against}: ${signed(mean)} ` +
    `(95 % interval ${plain(low)} to ${plain(high)}).`;
}
