import assert from "node:assert/strict";
import type { JsonObject, Judgement, Trajectory } from "@hone/hone";
import { conformance } from "@hone/hone/testing";
import { askedGroup, said } from "../../tests/fixtures/asked_group.ts";
import type { Script } from "../../tests/fixtures/llm_endpoints.ts";
import { ruleJudge } from "../../tests/fixtures/rule_judge.ts";
import plugin from "./ruler.ts";

conformance(plugin);

const judged = (script: Script, group: Trajectory[], settings: JsonObject = {}) =>
  askedGroup(plugin, script, group, settings);

/** Scores attempts by the number in their closing answer, and gives it as the reason. */
const byNumber: Script = ({ body }) => {
  const prompt = (body.messages as { content: string }[])[1]!.content;
  const numbers = [...prompt.matchAll(/^\| (0\.\d)$/gm)].map(([, number]) => number!);
  return JSON.stringify(Object.fromEntries(
    numbers.map((number, index) => [`attempt_${index + 1}`, { reason: `It says ${number}.`, score: Number(number) }]),
  ));
};

const positions = (made: Judgement[]) => made.map((one) => "score" in one ? one.parts!.position : one);
const scores = (made: Judgement[]) => made.map((one) => "score" in one ? one.score : one);

Deno.test("judge() gives each rollout its own score whatever the order in which it was shown", async () => {
  const group = said("0.1", "0.9", "0.4", "0.6");
  const { made, prompts } = await judged(byNumber, group);
  assert.deepEqual(scores(made), [0.1, 0.9, 0.4, 0.6]);
  assert.equal(prompts.length, 1);
  assert.equal(prompts[0]!.match(/The task:/g)!.length, 1);
  const at = positions(made);
  assert.deepEqual(at.toSorted(), [1, 2, 3, 4]);
  const [first] = made;
  assert.deepEqual(first, { score: 0.1, reason: `It says 0.1. (shown as ${at[0]} of 4)`, parts: { position: at[0] } });
});

Deno.test("judge() shows the same group in the same order, and in another with another seed or order of rollouts", async () => {
  const group = said("0.1", "0.9", "0.4", "0.6", "0.3", "0.2");
  const [once, again, other, turned] = [
    await judged(byNumber, group),
    await judged(byNumber, group),
    await judged(byNumber, group, { order_seed: 1 }),
    await judged(byNumber, group.toReversed()),
  ];
  assert.deepEqual(once.prompts, again.prompts);
  assert.notDeepEqual(positions(once.made), positions(other.made));
  assert.notDeepEqual(positions(once.made), positions(turned.made).toReversed());
  assert.deepEqual(scores(turned.made).toReversed(), scores(once.made));
});

Deno.test("judge() shows identical attempts once, and they have the same score", async () => {
  const { made, prompts } = await judged(byNumber, said("0.1", "0.9", "0.1"));
  assert.deepEqual(scores(made), [0.1, 0.9, 0.1]);
  assert.match(prompts[0]!, /^Attempt 2:$/m);
  assert.doesNotMatch(prompts[0]!, /^Attempt 3:$/m);
});

Deno.test("judge() asks nothing where there is nothing to compare", async () => {
  const never: Script = () => "unwanted";
  const one = await judged(never, said("0.1"));
  assert.deepEqual(one.made, [{ abstain: "a group of 1: at least 2 rollouts are needed to compare" }]);
  const few = await judged(never, said("0.1", "0.2"), { min_group: 3 });
  assert.deepEqual(few.made[1], { abstain: "a group of 2: at least 3 rollouts are needed to compare" });
  const same = await judged(never, said("0.1", "0.1"));
  assert.deepEqual(
    same.made,
    Array(2).fill({ score: 0.5, reason: "all 2 attempts are identical", parts: { position: 1 } }),
  );
  assert.deepEqual([...one.prompts, ...few.prompts, ...same.prompts], []);
});

Deno.test("judge() is invalid for the whole group where an attempt is missing, unknown or there twice", async () => {
  const one = { reason: "so", score: 1 };
  const wrong: [string, string][] = [
    [JSON.stringify({ attempt_1: one }), '"attempt_2" is missing'],
    [
      JSON.stringify({ attempt_1: one, attempt_2: one, attempt_9: one }),
      '"attempt_9" is not a field of the schema',
    ],
    [
      `{"attempt_1": ${JSON.stringify(one)}, "attempt_1": ${JSON.stringify(one)}, "attempt_2": ${JSON.stringify(one)}}`,
      'an object in it has the key "attempt_1" twice',
    ],
  ];
  for (const [reply, why] of wrong) {
    const { made, prompts } = await judged(() => reply, said("0.1", "0.2"));
    assert.equal(prompts.length, 2, "asked to mend it, once");
    for (const judgement of made) {
      const { invalid } = judgement as { invalid: string };
      assert.ok(invalid.includes(`: not JSON that matches the schema (${why}); it replied `), invalid);
    }
  }
});

Deno.test("judge() shows by its positions that a judge prefers the first", async () => {
  const { made } = await judged(ruleJudge("first"), said("a", "b", "c"));
  const best = made.find((one) => "score" in one && one.score === 1);
  assert.deepEqual(positions([best!]), [1]);
});
