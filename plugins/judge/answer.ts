/**
 * Judges the agent's closing answer against the one that the scenario expects.
 * @module
 */
import { definePlugin, matchSet, mismatch, type Plugin, readReply, schemaMisfit, setProblem } from "@hone/hone";
import type { Json, JsonObject, Judgement, Matcher, Outcome } from "@hone/hone";
import { matcher_schema } from "@hone/hone/schemas";
import { z } from "zod";

const config = z.strictObject({
  ignore_case: z.boolean().default(true).describe("Ignore case."),
  ignore_punctuation: z.boolean().default(true).describe("Ignore quotes around the answer and punctuation at its end."),
  partial: z.boolean().default(false).describe(
    "Of a `set`, score the share of values that are right: those found, of all that are expected or in the answer.",
  ),
});

const expected_answer = matcher_schema.describe(
  "The closing answer that is expected; read by judge/answer. Has at most one of `equals`, `contains`, `matches`, " +
    "`schema` and `set`. If a number is expected, the last number in the answer is compared; with `schema`, the JSON in " +
    "the answer. The judge's settings say whether case and punctuation count.",
).meta({
  examples: [
    { equals: "maple" },
    { contains: "maple" },
    { matches: "maple|oak" },
    { equals: 12.5, tolerance: 0.01 },
    { schema: { type: "object", required: ["name"], properties: { name: { const: "maple" } } } },
    { set: ["maple", "oak"] },
  ],
});

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "answer",
  summary: "Scores 1 if the closing answer matches the one that the scenario expects, otherwise 0.",
  config,
  examples: [
    { title: "Exact match", with: { ignore_case: false, ignore_punctuation: false } },
    { title: "Partial credit for lists", with: { partial: true } },
  ],
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
  const { answer } = outcome;
  if (answer === null) return { score: 0, reason: `no answer: ${outcome.cause ?? outcome.end}` };
  const [problem, score] = compared(answer, wanted, options);
  return problem === undefined
    ? { score: 1, reason: "the answer is the expected one" }
    : { score, reason: `the answer is ${JSON.stringify(answer.slice(0, 80))}: expected ${problem}` };
}

/** What was expected instead, and the score of that. */
function compared(answer: string, wanted: Matcher, options: z.output<typeof config>): [string | undefined, number] {
  if (wanted.schema !== undefined) return [schemaProblem(answer, wanted.schema), 0];
  if (wanted.set === undefined) {
    return [mismatch(readable(answer, wanted, options), readableMatcher(wanted, options)), 0];
  }
  const set = wanted.set.map((one) => typeof one === "string" ? plain(one, options) : one);
  const match = matchSet(answer, set, { tolerance: wanted.tolerance, read: (item) => plain(item, options) });
  const { found, missing, extra } = match;
  return [setProblem(match, set), options.partial ? found / (found + missing.length + extra.length) : 0];
}

function schemaProblem(answer: string, schema: JsonObject): string | undefined {
  const read = readReply({ text: answer }, schema);
  const problem = "problem" in read
    ? read.problem
    : schemaMisfit(schema, read.value, "the answer", { strict: true }) ?? undefined;
  return problem && `JSON that fits the schema (${problem})`;
}

/** If a number is expected, the last number in the answer is compared. */
function readable(answer: string, { equals }: Matcher, options: z.output<typeof config>): Json {
  if (typeof equals !== "number") return plain(answer, options);
  const numbers = answer.replace(/(\d),(?=\d{3}\b)/g, "$1").match(/-?\d+(\.\d+)?/g);
  return numbers ? Number(numbers.at(-1)) : answer;
}

function readableMatcher({ equals, contains, matches, tolerance }: Matcher, options: z.output<typeof config>): Matcher {
  if (typeof equals === "string") return { equals: plain(equals, options) };
  if (contains !== undefined) return { contains: options.ignore_case ? contains.toLowerCase() : contains };
  if (matches !== undefined) return { matches: options.ignore_case ? `(?i:${matches})` : matches };
  // As the answer, which is changed before it is read as JSON.
  const json = typeof equals === "object" ? JSON.parse(plain(JSON.stringify(equals), options)) : equals;
  return { equals: json, tolerance };
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
