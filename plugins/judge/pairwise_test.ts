import assert from "node:assert/strict";
import type { JsonObject, Judgement, Trajectory } from "@hone/hone";
import { conformance } from "@hone/hone/testing";
import { askedGroup, said } from "../../tests/fixtures/asked_group.ts";
import { failure, type Script } from "../../tests/fixtures/llm_endpoints.ts";
import { ruleJudge } from "../../tests/fixtures/rule_judge.ts";
import plugin from "./pairwise.ts";

conformance(plugin);

async function judged(script: Script, group: Trajectory[], settings: JsonObject = {}) {
  const { made, prompts } = await askedGroup(plugin, script, group, settings);
  return { made, requests: prompts.length };
}

function shown({ body }: { body: JsonObject }): number[] {
  const prompt = (body.messages as { content: string }[])[1]!.content;
  return [...prompt.matchAll(/^\| (\d+)$/gm)].map(([, number]) => Number(number));
}

/** Prefers the attempt whose closing answer is the larger number. */
const larger: Script = (request) => {
  const [first, second] = shown(request) as [number, number];
  return JSON.stringify({
    reason: "The larger.",
    better: first > second ? "first" : first < second ? "second" : "tie",
  });
};

const scores = (made: Judgement[]) => made.map((one) => "score" in one ? one.score : one);
const parts = (made: Judgement[]) => made.map((one) => "score" in one ? one.parts : one);

Deno.test("judge() compares two attempts in both orders", async () => {
  const { made, requests } = await judged(larger, said("1", "2"));
  assert.equal(requests, 2);
  assert.deepEqual(scores(made), [0, 1]);
  assert.deepEqual(parts(made), [
    { wins: 0, ties: 0, losses: 1, flipped: 0 },
    { wins: 1, ties: 0, losses: 0, flipped: 0 },
  ]);
  const reasons = made.map((one) => "score" in one && one.reason).toSorted();
  assert.match(String(reasons[0]), /^0 won, 0 tied, 1 lost; shown (first|second): The larger\.$/);
});

Deno.test("judge() counts a preference that the swap does not survive as a tie that flipped", async () => {
  const { made } = await judged(ruleJudge("first"), said("1", "2", "3"));
  assert.deepEqual(scores(made), [0.5, 0.5, 0.5]);
  const flipped = made.map((one) => "score" in one ? one.parts!.flipped : one).toSorted();
  assert.deepEqual(flipped, [1, 1, 2]);
  const reasons = made.map((one) => "score" in one ? one.reason : "").filter((one) => one.startsWith("0 won, 1 tied"));
  assert.match(reasons[0]!, /^0 won, 1 tied, 0 lost, 1 flipped by the order; shown second: /);
});

Deno.test("judge() compares every attempt with the pivots only, and scores by the share won", async () => {
  const group = said(..."12345678");
  const one = await judged(larger, group);
  assert.equal(one.requests, 2 * 7);
  const pivot = one.made.findIndex((made) => "score" in made && made.parts!.wins! + made.parts!.losses! === 7);
  assert.deepEqual(scores(one.made), group.map((_, index) => index === pivot ? pivot / 7 : index > pivot ? 1 : 0));
  const all = await judged(larger, group, { pivots: 8 });
  assert.equal(all.requests, 2 * 28);
  assert.deepEqual(scores(all.made), group.map((_, index) => index / 7));
});

Deno.test("judge() takes ties as ties, and identical attempts as one", async () => {
  const tie: Script = () => JSON.stringify({ reason: "Alike.", better: "tie" });
  const { made, requests } = await judged(tie, said("1", "2", "1"));
  assert.equal(requests, 2);
  assert.deepEqual(scores(made), [0.5, 0.5, 0.5]);
  assert.deepEqual(parts(made), Array(3).fill({ wins: 0, ties: 1, losses: 0, flipped: 0 }));
  const never: Script = () => "unwanted";
  const none = { wins: 0, ties: 0, losses: 0, flipped: 0 };
  assert.deepEqual((await judged(never, said("1", "1"))).made, [
    { score: 0.5, reason: "all 2 attempts are identical", parts: none },
    { score: 0.5, reason: "all 2 attempts are identical", parts: none },
  ]);
  assert.deepEqual((await judged(never, said("1"))).made, [
    { abstain: "a group of 1: at least 2 rollouts are needed to compare" },
  ]);
});

Deno.test("judge() is invalid for the attempt whose comparison failed, and leaves it out of the pivot's share", async () => {
  const broken: Script = (request, index) =>
    shown(request).includes(3) ? failure(400, "3 is too much") : larger(request, index);
  const { made } = await judged(broken, said("1", "2", "3"), { order_seed: 3 });
  const failed = made.filter((one) => "invalid" in one);
  // Without the third as the pivot, only its own comparison fails.
  assert.deepEqual(failed.map((one) => made.indexOf(one)), [2]);
  assert.deepEqual(scores(made).slice(0, 2), [0, 1]);
});
