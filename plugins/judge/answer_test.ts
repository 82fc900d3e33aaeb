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
