import assert from "node:assert/strict";
import { unlessAborted, within } from "../../common/deadline.ts";
import type { Judgement } from "../../events.ts";
import { type JudgedGroup, judgedGroup, type Judges } from "../../../tests/fixtures/judged_group.ts";

const good = (): Judgement => ({ score: 1, reason: "as expected" });
const always: Judges = { always: { judge: ({ group }) => group.map(good) } };

/** What the judges said of the rollouts, and what became of each. */
function said({ of, judged }: JudgedGroup) {
  return {
    judgements: of("judgement.made").map(({ group_id: _, ...judgement }) => judgement),
    rewards: judged.map(({ reward, success }) => ({ ...reward, success })),
  };
}

for (
  const [what, made, invalid] of [
    ["a score that is NaN", [{ score: NaN, reason: "" }], "returned the score NaN: expected a number from 0 to 1"],
    ["a score above 1", [{ score: 1.1, reason: "" }], "returned the score 1.1: expected a number from 0 to 1"],
    ["a score below 0", [{ score: -0.5, reason: "" }], "returned the score -0.5: expected a number from 0 to 1"],
    ["no judgement", [], "returned no judgement"],
    ["an empty judgement", [{}], "returned a judgement without score, abstain or invalid"],
    ["no list", "good", "returned no list of judgements"],
    ["too many", [good(), good()], "returned 2 judgements for 1 rollouts"],
    [
      "a part that is no number",
      [{ ...good(), parts: { near: "x" } }],
      "returned the part near as x: expected a number",
    ],
  ] as const
) {
  Deno.test(`a judge that returns ${what} is invalid, by its name`, async () => {
    const group = await judgedGroup({ odd: { judge: () => made as unknown as Judgement[] } });
    const why = `judge "odd" ${invalid}`;
    assert.deepEqual(said(group), {
      judgements: [{ rollout_id: "r0", judge: "odd", invalid: why }],
      rewards: [{ invalid: `odd: ${why}`, success: false }],
    });
  });
}

Deno.test("a judge that throws is invalid, and says how judges are called where it was written for an earlier hone", async () => {
  const thrown = await judgedGroup({ odd: { judge: () => Promise.reject(new Error("out of order")) } });
  assert.deepEqual(thrown.judged[0]!.reward, { invalid: "odd: judge failed: out of order" });
  const old = ((group: unknown[]) => group.map(good)) as unknown as Judges[string]["judge"];
  const { reward } = (await judgedGroup({ old: { judge: old } })).judged[0]!;
  assert.match(
    JSON.stringify(reward),
    /is not a function \(a judge receives one object: judge\(\{ group, scenario, signal, llm \}\)\)/,
  );
});

Deno.test("a judge that scores what it could not observe is invalid, and may say so itself", async () => {
  const observe = () => Promise.resolve({});
  const scored = await judgedGroup({ blind: { observe, judge: ({ group }) => group.map(good) } });
  const why = 'judge "blind" scored a rollout whose environment it could not observe';
  assert.deepEqual(scored.judged[0]!.reward, { invalid: `blind: ${why}` });
  const honest = await judgedGroup({ blind: { observe, judge: () => [{ invalid: "too dark" }] } });
  assert.deepEqual(honest.judged[0]!.reward, { invalid: "blind: too dark" });
});

Deno.test("a judge that never answers is invalid when its time is up, with its signal aborted", async () => {
  const seen: AbortSignal[] = [];
  const group = await judgedGroup({
    slow: {
      judge: ({ signal }) => {
        seen.push(signal);
        return new Promise(() => {});
      },
    },
  }, { timeout_secs: 0.05 });
  assert.deepEqual(group.judged[0]!.reward, { invalid: "slow: judge failed: no judgement within 0.05 s" });
  assert.equal(seen[0]!.aborted, true);
});

Deno.test("a judge whose own time limit is up is invalid with that limit", async () => {
  const waiting = (signal: AbortSignal) => unlessAborted(signal, new Promise<never>(() => {}));
  const group = await judgedGroup({ slow: { judge: ({ signal }) => within(0.05, signal, waiting) } }, {
    timeout_secs: 60,
  });
  assert.deepEqual(group.judged[0]!.reward, { invalid: "slow: judge failed: no judgement within 0.05 s" });
});

Deno.test("judges of one group judge side by side", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const group = await judgedGroup({
    waits: { judge: ({ group }) => promise.then(() => group.map(good)) },
    frees: {
      judge: ({ group }) => {
        resolve();
        return group.map(good);
      },
    },
  });
  assert.equal(group.judged[0]!.success, true);
});

Deno.test("a judge that abstains is absent from the reward, and all that abstain make it invalid", async () => {
  const shy: Judges[string] = { judge: ({ group }) => group.map(() => ({ abstain: "not mine" })) };
  const weights = { always: 1, shy: 1 };
  assert.deepEqual((await judgedGroup({ ...always, shy }, { weights })).judged[0]!.reward, {
    value: 1,
    parts: { always: 1 },
  });
  assert.deepEqual(
    (await judgedGroup({ shy }, { weights: { shy: 1 } })).judged.map(({ reward, success }) => ({
      ...reward,
      success,
    })),
    [{ invalid: "no decisive judge returned a score: shy: not mine", success: false }],
  );
});

Deno.test("a relative judge is asked in training only, and spoils nothing where it abstains", async () => {
  const rank: Judges[string] = {
    scale: "relative",
    decisive: false,
    judge: ({ group }) => group.map((_, index) => ({ score: index / 10, reason: "place" })),
  };
  const weights = { always: 1, rank: 1 };
  const trained = await judgedGroup({ ...always, rank }, { rollouts: 2, weights });
  assert.deepEqual(trained.judged.map(({ reward }) => "value" in reward && reward.value), [1, 1.1]);
  const measured = await judgedGroup({ ...always, rank }, { rollouts: 2, weights, purpose: "evaluation" });
  assert.deepEqual(measured.judged.map(({ reward }) => "value" in reward && reward.value), [1, 1]);
  assert.deepEqual(said(measured).judgements.filter(({ judge }) => judge === "rank"), [
    { rollout_id: "r0", judge: "rank", abstain: "relative: used only in training" },
    { rollout_id: "r1", judge: "rank", abstain: "relative: used only in training" },
  ]);
});

Deno.test("a rollout that failed before it could be judged is invalid, and no judge is asked", async () => {
  const group = await judgedGroup(always, { outcome: { end: "timeout", answer: null, cause: "the time was up" } });
  assert.deepEqual(said(group), { judgements: [], rewards: [{ invalid: "the time was up", success: false }] });
});

for (
  const [what, shape, invalid] of [
    ["throws", () => Promise.reject(new Error("no idea")), "reward shaper failed: no idea"],
    ["returns NaN", () => ({ value: NaN, parts: {} }), "reward shaper returned the value NaN: expected a number"],
  ] as const
) {
  Deno.test(`a reward is invalid where the shaper ${what}`, async () => {
    assert.deepEqual((await judgedGroup(always, { shaper: { shape } })).judged[0]!.reward, { invalid });
  });
}
