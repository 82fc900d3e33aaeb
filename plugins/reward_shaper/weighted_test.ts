import assert from "node:assert/strict";
import type { Judgement, Trajectory } from "@hone/hone";
import { conformance, fakeContext, fakeToolCall, fakeTrajectory, fakeTurn } from "@hone/hone/testing";
import { stream } from "../../pipeline/common/random.ts";
import plugin from "./weighted.ts";
import { judgementsFrom, trajectoryFrom } from "../../tests/fixtures/random_judgements.ts";

conformance(plugin);

async function shape(
  settings: Record<string, unknown>,
  judgements: Record<string, Judgement>,
  trajectory: Partial<Trajectory> = {},
) {
  const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
  return role.shape(fakeTrajectory(trajectory), judgements);
}

const state: Judgement = { score: 0.5, reason: "half" };
const calls: Judgement = { score: 1, reason: "", parts: { invalid: 2 } };

Deno.test("shape() adds scores and parts by weight", async () => {
  const reward = await shape({ weights: { state: 1, "calls.invalid": -0.125 } }, { state, calls });
  assert.deepEqual(reward, { value: 0.25, parts: { state: 0.5, "calls.invalid": -0.25 } });
});

Deno.test("shape() weighs all judges alike when told nothing", async () => {
  assert.deepEqual(await shape({}, { state, calls }), { value: 0.75, parts: { state: 0.25, calls: 0.5 } });
});

Deno.test("shape() is invalid where a judgement is, or is not there", async () => {
  assert.deepEqual(await shape({ weights: { state: 1 } }, { state: { invalid: "not observed" } }), {
    invalid: "state: not observed",
  });
  assert.deepEqual(await shape({ weights: { stat: 1 } }, { state }), {
    invalid: 'unknown judge "stat": expected one of state',
  });
  assert.deepEqual(await shape({ weights: { "calls.wrong": 1 } }, { calls }), { invalid: 'calls has no part "wrong"' });
  assert.deepEqual(await shape({ weights: { state: 1 } }, { state, calls: { invalid: "not weighed" } }), {
    value: 0.5,
    parts: { state: 0.5 },
  });
});

Deno.test("shape() leaves out a judge that abstains", async () => {
  const answer: Judgement = { abstain: "the scenario expects no answer" };
  assert.deepEqual(await shape({ weights: { state: 1, answer: 1, "answer.near": 0.5 } }, { state, answer }), {
    value: 0.5,
    parts: { state: 0.5 },
  });
  assert.deepEqual(await shape({}, { state, answer }), { value: 0.5, parts: { state: 0.5 } });
  assert.deepEqual(await shape({ weights: { answer: 1 } }, { state, answer }), { value: 0, parts: {} });
  assert.deepEqual(await shape({}, { answer }), { invalid: "every judge abstains" });
});

/** Two turns: an unreadable reply, then a call that fails and one that works. */
const rocky = {
  turns: [fakeTurn({ index: 0, invalid_call: "no call", output_tokens: 4 }), fakeTurn({ index: 1, output_tokens: 6 })],
  tool_calls: [
    { ...fakeToolCall("read", {}, "tool_error"), turn: 1 },
    { ...fakeToolCall("read"), turn: 1, index: 1 },
    { ...fakeToolCall("read"), turn: 1, index: 2 },
  ],
};

Deno.test("shape() adds what the rollout did, each count with its weight", async () => {
  const per = { call: -0.25, turn: -0.5, output_token: -0.125, error: -1, recovery: 0.5, invalid_call: -2 };
  assert.deepEqual(await shape({ weights: { state: 1 }, per }, { state }, rocky), {
    value: 0.5 - 0.75 - 1 - 1.25 - 1 + 0.5 - 2,
    parts: {
      state: 0.5,
      "per call": -0.75,
      "per turn": -1,
      "per output_token": -1.25,
      "per error": -1,
      "per recovery": 0.5,
      "per invalid_call": -2,
    },
  });
  const clean = await shape({ per: { error: -1 } }, { state });
  assert.deepEqual(clean, { value: 0.5, parts: { state: 0.5, "per error": 0 } });
});

Deno.test("shape() keeps the reward within clip, and says by how much it changed it", async () => {
  const clipped = (weight: number) => shape({ weights: { state: weight }, clip: [-1, 1] }, { state });
  assert.deepEqual(await clipped(4), { value: 1, parts: { state: 2, clip: -1 } });
  assert.deepEqual(await clipped(-3), { value: -1, parts: { state: -1.5, clip: 0.5 } });
  assert.deepEqual(await clipped(1), { value: 0.5, parts: { state: 0.5 } });
});

Deno.test("shape() lets a check veto another judge's praise", async () => {
  const praise: Judgement = { score: 1, reason: "wonderful" };
  const vetoed = (veto: unknown, judgements: Record<string, Judgement>, weights = { praise: 1 }) =>
    shape({ weights, veto }, { praise, ...judgements });
  assert.deepEqual(await vetoed(["state"], { state }), { value: 0, parts: { praise: 1, "veto by state": -1 } });
  assert.deepEqual(await vetoed([{ judge: "state", below: 0.5 }], { state }), { value: 1, parts: { praise: 1 } });
  assert.deepEqual(await vetoed([{ judge: "state", at_most: 0.25 }], { state }), {
    value: 0.25,
    parts: { praise: 1, "veto by state": -0.75 },
  });
  assert.deepEqual(await vetoed(["calls.invalid", "state"], { state, calls }), {
    value: 0,
    parts: { praise: 1, "veto by state": -1 },
  });
  // It does not raise a reward.
  assert.deepEqual(await vetoed(["state"], { state }, { praise: -1 }), {
    value: -1,
    parts: { praise: -1, "veto by state": 0 },
  });
});

Deno.test("shape() is invalid where a vetoing judge could not judge, and takes an abstention for no veto", async () => {
  const praise: Judgement = { score: 1, reason: "wonderful" };
  const settings = { weights: { praise: 1 }, veto: ["state"] };
  assert.deepEqual(await shape(settings, { praise, state: { invalid: "not observed" } }), {
    invalid: "state: not observed",
  });
  assert.deepEqual(await shape(settings, { praise, state: { abstain: "no checks" } }), {
    value: 1,
    parts: { praise: 1 },
  });
});

Deno.test("shape() changes weights with the RL step, and uses the last ones outside of RL", async () => {
  const curriculum = { weights: { state: { 3: 1, 7: 3 } }, per: { turn: { 1: 0, 2: -1 } } };
  const value = async (step: number, change: string) => {
    const reward = await shape({ curriculum: { ...curriculum, change } }, { state }, { step, turns: [fakeTurn()] });
    return "value" in reward && reward.parts;
  };
  const parts = (state: number, turn: number) => ({ state, "per turn": turn });
  assert.deepEqual(await value(1, "linear"), parts(0.5, 0));
  assert.deepEqual(await value(3, "linear"), parts(0.5, -1));
  assert.deepEqual(await value(5, "linear"), parts(1, -1));
  assert.deepEqual(await value(9, "linear"), parts(1.5, -1));
  assert.deepEqual(await value(-1, "linear"), parts(1.5, -1));
  assert.deepEqual(await value(6, "stepwise"), parts(0.5, -1));
  assert.deepEqual(await value(7, "stepwise"), parts(1.5, -1));
});

Deno.test("shape() returns parts whose sum is the value, whatever the judges say", async () => {
  const random = stream(7, "weighted");
  for (let i = 0; i < 2000; i++) {
    const weight = () => Math.round(random() * 8 - 4) / 3;
    const settings = {
      ...(random() < 0.8 && { weights: { one: weight(), "one.near": weight(), two: weight() } }),
      ...(random() < 0.5 && { per: { turn: weight(), error: weight(), recovery: weight() } }),
      ...(random() < 0.5 && { curriculum: { weights: { three: { 2: weight(), 9: weight() } } } }),
      ...(random() < 0.5 && { clip: [-1, 1] }),
      ...(random() < 0.5 && { veto: ["two", { judge: "three", below: random(), at_most: random() }] }),
    };
    const judgements = judgementsFrom(random);
    const reward = await shape(settings, judgements, trajectoryFrom(random));
    const failed = Object.entries(judgements).filter(([, one]) => "invalid" in one).map(([judge]) => judge);
    if ("invalid" in reward) {
      const abstain = Object.values(judgements).every((one) => "abstain" in one);
      assert.equal(
        reward.invalid,
        abstain ? "every judge abstains" : `${failed.find((judge) => reward.invalid.startsWith(judge))}: broke`,
      );
      continue;
    }
    const sum = Object.values(reward.parts).reduce((total, part) => total + part, 0);
    assert.ok(Math.abs(sum - reward.value) < 1e-9, JSON.stringify({ settings, judgements, reward }));
    if (settings.clip && !settings.veto) assert.ok(reward.value >= -1 && reward.value <= 1);
    for (const judge of failed) assert.ok(!Object.hasOwn(reward.parts, judge), judge);
    const two = judgements.two!;
    if (settings.veto && "score" in two && two.score < 1) assert.ok(reward.value <= 0);
  }
});

Deno.test("config refuses what contradicts itself", () => {
  const problems = (settings: unknown) =>
    plugin.config.safeParse(settings).error?.issues.map(({ path, message }) => `${path.join(".")} ${message}`);
  assert.deepEqual(
    problems({
      weights: { state: 1 },
      per: { turn: -1 },
      curriculum: { weights: { state: { 1: 1 } }, per: { turn: { 1: 0 } } },
      clip: [1, 0],
      veto: ["state"],
    }),
    [
      "curriculum.weights.state must not be in `weights` too: its weight would have two values",
      "curriculum.per.turn must not be in `per` too: its weight would have two values",
      "clip must be the lowest reward, then a higher one",
      "veto.0 must limit the reward to a value within `clip`, not to 0",
    ],
  );
  assert.deepEqual(problems({ clip: [0.5, 1], veto: [{ judge: "state", at_most: 0.75 }] }), undefined);
});
