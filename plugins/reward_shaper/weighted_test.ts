import assert from "node:assert/strict";
import type { Judgement, Trajectory } from "@hone/hone";
import { conformance, fakeContext } from "@hone/hone/testing";
import plugin from "./weighted.ts";

conformance(plugin);

async function shape(weights: Record<string, number>, judgements: Record<string, Judgement>) {
  const role = await plugin.create(fakeContext(plugin.config.parse({ weights })));
  return role.shape({} as Trajectory, judgements);
}

const state: Judgement = { score: 0.5, reason: "half" };
const calls: Judgement = { score: 1, reason: "", parts: { invalid: 2 } };

Deno.test("shape() adds scores and parts by weight", async () => {
  const reward = await shape({ state: 1, "calls.invalid": -0.125 }, { state, calls });
  assert.deepEqual(reward, { value: 0.25, parts: { state: 0.5, "calls.invalid": -0.25 } });
});

Deno.test("shape() weighs all judges alike when told nothing", async () => {
  assert.deepEqual(await shape({}, { state, calls }), { value: 0.75, parts: { state: 0.25, calls: 0.5 } });
});

Deno.test("shape() is invalid where a judgement is, or is not there", async () => {
  assert.deepEqual(await shape({ state: 1 }, { state: { invalid: "not observed" } }), {
    invalid: "state: not observed",
  });
  assert.deepEqual(await shape({ stat: 1 }, { state }), { invalid: 'unknown judge "stat": expected one of state' });
  assert.deepEqual(await shape({ "calls.wrong": 1 }, { calls }), { invalid: 'calls has no part "wrong"' });
  assert.deepEqual(await shape({ state: 1 }, { state, calls: { invalid: "not weighed" } }), {
    value: 0.5,
    parts: { state: 0.5 },
  });
});

Deno.test("shape() leaves out a judge that abstains", async () => {
  const answer: Judgement = { abstain: "the scenario expects no answer" };
  assert.deepEqual(await shape({ state: 1, answer: 1, "answer.near": 0.5 }, { state, answer }), {
    value: 0.5,
    parts: { state: 0.5 },
  });
  assert.deepEqual(await shape({}, { state, answer }), { value: 0.5, parts: { state: 0.5 } });
  assert.deepEqual(await shape({ answer: 1 }, { state, answer }), { value: 0, parts: {} });
  assert.deepEqual(await shape({}, { answer }), { invalid: "every judge abstains" });
});
