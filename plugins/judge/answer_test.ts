import assert from "node:assert/strict";
import type { Matcher, Scenario, Verdictlet } from "@hone/hone";
import { conformance, fakeContext } from "@hone/hone/testing";
import plugin from "./answer.ts";
import { trajectory } from "../../tests/fixtures/sample_trajectory.ts";

conformance(plugin);

async function judge(answer: string | null, wanted: Matcher | undefined, settings = {}): Promise<Verdictlet> {
  const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
  const scenario: Scenario = { id: "s", task: "t", split: "train", tags: [], checks: [], answer: wanted };
  const outcome = answer === null
    ? { end: "max_turns" as const, answer, cause: "4 turns" }
    : { end: "answered" as const, answer };
  return (await role.judge([trajectory({ outcome })], scenario))[0]!;
}

Deno.test("judge() forgives case, spaces, quotes and a full stop unless told not to", async () => {
  assert.deepEqual(await judge(' "Maple\n tree". ', { equals: "maple tree" }), {
    score: 1,
    reason: "the answer is the expected one",
  });
  assert.deepEqual(await judge("Oak", { equals: "maple" }), {
    score: 0,
    reason: 'the answer is "Oak": wanted "maple"',
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

Deno.test("judge() scores 0 without an answer and is invalid with nothing to judge by", async () => {
  assert.deepEqual(await judge(null, { equals: "x" }), { score: 0, reason: "no answer: 4 turns" });
  assert.deepEqual(await judge("x", undefined), {
    invalid: "scenario s has neither checks, answer nor calls to judge by",
  });
});
