/**
 * Judges the agent's closing answer against the one that the scenario expects.
 * @module
 */
import { definePlugin, mismatch, type Plugin } from "@hone/hone";
import type { Json, Judgement, Matcher, Outcome } from "@hone/hone";
import { matcher_schema } from "@hone/hone/schemas";
import { z } from "zod";

const config = z.strictObject({
  ignore_case: z.boolean().default(true).describe("Ignore case."),
  ignore_punctuation: z.boolean().default(true).describe("Ignore quotes around the answer and punctuation at its end."),
});

const expected_answer = matcher_schema.describe(
  "The closing answer that is expected; read by judge/answer. Has at most one of `equals`, `contains` and `matches`. If a " +
    "number is expected, the last number in the answer is compared; the judge's settings say whether case and " +
    "punctuation count.",
).meta({
  examples: [{ equals: "maple" }, { contains: "maple" }, { matches: "maple|oak" }, { equals: 12.5, tolerance: 0.01 }],
});

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "answer",
  summary: "Scores 1 if the closing answer matches the one that the scenario expects, otherwise 0.",
  config,
  examples: [{ title: "Exact match", with: { ignore_case: false, ignore_punctuation: false } }],
  expects: { field: "answer", schema: expected_answer },
  parts: [],
  create: ({ config }) => ({
    scale: "absolute",
    decisive: true,
    judge: ({ group, expected }) => group.map(({ outcome }) => judgeOne(outcome, expected, config)),
  }),
});
export default plugin;

function judgeOne(outcome: Outcome, wanted: Matcher | undefined, options: z.output<typeof config>): Judgement {
  if (!wanted) return { abstain: "the scenario expects no answer" };
  if (outcome.answer === null) return { score: 0, reason: `no answer: ${outcome.cause ?? outcome.end}` };
  const problem = mismatch(readable(outcome.answer, wanted.equals, options), readableMatcher(wanted, options));
  const shown = JSON.stringify(outcome.answer.slice(0, 80));
  return problem === undefined
    ? { score: 1, reason: "the answer is the expected one" }
    : { score: 0, reason: `the answer is ${shown}: expected ${problem}` };
}

/** If a number is expected, the last number in the answer is compared. */
function readable(answer: string, wanted: Json | undefined, options: z.output<typeof config>): Json {
  if (typeof wanted !== "number") return plain(answer, options);
  const numbers = answer.replace(/(\d),(?=\d{3}\b)/g, "$1").match(/-?\d+(\.\d+)?/g);
  return numbers ? Number(numbers.at(-1)) : answer;
}

function readableMatcher(wanted: Matcher, options: z.output<typeof config>): Matcher {
  const { equals, contains, matches, tolerance } = wanted;
  if (typeof equals === "string") return { equals: plain(equals, options) };
  if (contains !== undefined) return { contains: options.ignore_case ? contains.toLowerCase() : contains };
  return matches === undefined ? { equals, tolerance } : { matches: options.ignore_case ? `(?i:${matches})` : matches };
}

function plain(text: string, { ignore_case, ignore_punctuation }: z.output<typeof config>): string {
  const trimmed = text.trim().replace(/\s+/g, " ");
  const bare = ignore_punctuation ? without(trimmed, "\"'`*", ".\"'`*!") : trimmed;
  return ignore_case ? bare.toLowerCase() : bare;
}

/** The text without these characters at its start and end, in linear time: `[…]+$` would be tried at each of them. */
function without(text: string, at_start: string, at_end: string): string {
  let [from, to] = [0, text.length];
  while (from < to && at_start.includes(text[from]!)) from++;
  while (to > from && at_end.includes(text[to - 1]!)) to--;
  return text.slice(from, to);
}
