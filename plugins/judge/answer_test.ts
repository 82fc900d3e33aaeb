import assert from "node:assert/strict";
import type { Judgement, Matcher } from "@hone/hone";
import { conformance, fakeContext, fakeJudgeArgs, fakeTrajectory } from "@hone/hone/testing";
import plugin from "./answer.ts";

conformance(plugin);

async function judge(answer: string | null, wanted: Matcher | undefined, settings = {}): Promise<Judgement> {
  const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
  const outcome = answer === null
    ? { end: "max_turns" as const, answer, cause: "4 turns" }
    : { end: "answered" as const, answer };
  return (await role.judge(fakeJudgeArgs({ group: [fakeTrajectory({ outcome })], expected: wanted })))[0]!;
}

Deno.test("judge() forgives case, spaces, quotes and a full stop unless told not to", async () => {
  assert.deepEqual(await judge(' "Maple\n tree". ', { equals: "maple tree" }), {
    score: 1,
    reason: "the answer is the expected one",
  });
  assert.deepEqual(await judge("Oak", { equals: "maple" }), {
    score: 0,
    reason: 'the answer is "Oak": expected "maple"',
  });
  const strict = await judge("Maple", { equals: "maple" }, { ignore_case: false });
  assert.equal("score" in strict && strict.score, 0);
});

Deno.test("judge() takes the last number of a sentence where a number is wanted", async () => {
  const scores = [];
  for (const answer of ["It is 1,204 rows.", "2 tables, 1203.6", "none"]) {
    const verdict = await judge(answer, { equals: 1204, tolerance: 0.5 });
    scores.push("score" in verdict && verdict.score);
  }
  assert.deepEqual(scores, [1, 1, 0]);
});

Deno.test("judge() reads contains and matches", async () => {
  for (const wanted of [{ contains: "MAPLE" }, { matches: "^a maple\\b" }]) {
    const verdict = await judge("A maple, I think", wanted);
    assert.equal("score" in verdict && verdict.score, 1);
  }
});

Deno.test("judge() scores 0 without an answer and abstains where none is expected", async () => {
  assert.deepEqual(await judge(null, { equals: "x" }), { score: 0, reason: "no answer: 4 turns" });
  assert.deepEqual(await judge("x", undefined), { abstain: "the scenario expects no answer" });
});

Deno.test("judge() compares a list in any order, as JSON, as lines or with commas, and gives partial credit where told", async () => {
  const trees = { set: ["Maple", "oak"] };
  for (
    const answer of [
      '["oak", "maple"]',
      "- Oak\n- Maple\n",
      "oak, maple",
      "The trees are: maple and oak.",
      "Maple; Oak; oak",
    ]
  ) {
    assert.deepEqual(await judge(answer, trees), { score: 1, reason: "the answer is the expected one" }, answer);
  }
  assert.deepEqual(await judge("maple, pine", trees), {
    score: 0,
    reason:
      'the answer is "maple, pine": expected the values ["maple","oak"] in any order (without "oak", with "pine")',
  });
  const partial = await judge("maple, pine", trees, { partial: true });
  assert.equal("score" in partial && partial.score, 1 / 3);
  const numbers = await judge("1, 2.004", { set: [2, 1], tolerance: 0.01 });
  assert.equal("score" in numbers && numbers.score, 1);
});

Deno.test("judge() checks the JSON in the answer against a schema", async () => {
  const schema = { type: "object", required: ["n"], properties: { n: { type: "integer" } } };
  const right = await judge('Here it is:\n```json\n{"n": 3}\n```', { schema });
  assert.equal("score" in right && right.score, 1);
  const reasons = [];
  for (const answer of ['{"n": "3"}', "three", '{"n": 3']) {
    const verdict = await judge(answer, { schema });
    reasons.push("reason" in verdict && verdict.reason);
  }
  assert.deepEqual(reasons, [
    'the answer is "{\\"n\\": \\"3\\"}": expected JSON that fits the schema ("n" must be integer)',
    'the answer is "three": expected JSON that fits the schema (there is no JSON in it)',
    'the answer is "{\\"n\\": 3": expected JSON that fits the schema (its JSON is cut off: the brackets do not close)',
  ]);
});

Deno.test("judge() compares JSON as texts are, case included where told", async () => {
  const verdict = await judge('{"Tree": "maple"}', { equals: { Tree: "Maple" } });
  assert.equal("score" in verdict && verdict.score, 1);
});

Deno.test("the expected answer's form is checked", () => {
  const problem = (wanted: unknown) =>
    plugin.expects!.schema.safeParse(wanted).error?.issues.map(({ message }) => message);
  assert.equal(problem({ set: [2, "x"], tolerance: 1 }), undefined);
  assert.deepEqual(problem({ equals: "12", tolerance: 1 }), ["needs a number in `equals` or `set` that it applies to"]);
  assert.deepEqual(problem({ equals: 1, set: [1] }), [
    "must have at most one of equals, contains, matches, schema and set",
  ]);
  assert.deepEqual(problem({ schema: { type: "nothing" } }), [
    "must be a JSON Schema: type must be JSONType or JSONType[]: nothing",
  ]);
  assert.deepEqual(problem({ schema: { pattern: "(?=a)" } }), [
    "must be a JSON Schema: /(?=a)/: look-ahead is not supported",
  ]);
  assert.deepEqual(problem(7), ["Invalid input: expected object, received number"]);
});
