import assert from "node:assert/strict";
import type { Judgement, RewardValue, Trajectory } from "@hone/hone";
import { conformance, fakeContext, fakeTrajectory, fakeTurn } from "@hone/hone/testing";
import { stream } from "../../pipeline/common/random.ts";
import { judgementsFrom, trajectoryFrom } from "../../tests/fixtures/random_judgements.ts";
import plugin from "./lexicographic.ts";

conformance(plugin);

async function shaper(criteria: unknown[]) {
  const role = await plugin.create(fakeContext(plugin.config.parse({ criteria })));
  return (judgements: Record<string, Judgement>, trajectory: Partial<Trajectory> = {}) =>
    role.shape(fakeTrajectory(trajectory), judgements) as RewardValue;
}

const score = (score: number, parts?: Record<string, number>): Judgement => ({
  score,
  reason: "",
  ...parts && { parts },
});
const valueOf = (reward: RewardValue) => "value" in reward ? reward.value : assert.fail(reward.invalid);

Deno.test("shape() lets the first criterion decide, and the next ones only among equals", async () => {
  const shape = await shaper(["state", { judge: "calls.near", tolerance: 0.25 }, {
    per: "turn",
    range: [0, 3],
    tolerance: 1,
  }]);
  const value = (state: number, near: number, turns: number) =>
    valueOf(shape({ state: score(state), calls: score(0, { near }) }, { turns: Array(turns).fill(fakeTurn()) }));
  const ranked = [value(1, 1, 0), value(1, 1, 2), value(1, 0.5, 0), value(1, 0, 3), value(0.5, 1, 0), value(0, 0, 3)];
  assert.deepEqual(ranked, ranked.toSorted((a, b) => b - a));
  assert.equal(new Set(ranked).size, ranked.length);
  assert.deepEqual([ranked[0], ranked.at(-1)], [1, 0]);
  assert.equal(value(1, 0.3, 1), value(1, 0.49, 1), "ties within the tolerance");
  assert.equal(value(1, 0, 3), value(1, 0, 30), "counts outside of the range are the nearest one inside");
});

Deno.test("shape() gives each criterion its part: its rank times its place in the number", async () => {
  const shape = await shaper([{ judge: "state", tolerance: 1 }, { judge: "style", tolerance: 0.5, prefer: "lowest" }]);
  // Two ranks times three: 0 to 5.
  assert.deepEqual(shape({ state: score(1), style: score(0.5) }), { value: 0.8, parts: { state: 0.6, style: 0.2 } });
  assert.deepEqual(shape({ state: score(0), style: score(0) }), { value: 0.4, parts: { state: 0, style: 0.4 } });
});

Deno.test("shape() is invalid where a criterion's judge is, and leaves out one that abstains", async () => {
  const shape = await shaper(["state", "style"]);
  assert.deepEqual(shape({ state: score(1), style: { invalid: "no reply" } }), { invalid: "style: no reply" });
  assert.deepEqual(shape({ state: { abstain: "no checks" }, style: score(1) }), { value: 1, parts: { style: 1 } });
  assert.deepEqual(shape({ state: { abstain: "a" }, style: { abstain: "b" } }), { invalid: "every judge abstains" });
  assert.deepEqual(shape({ state: { abstain: "a" }, style: { abstain: "b" }, other: score(1) }), {
    invalid: "the judges of all criteria abstain",
  });
  assert.deepEqual(shape({ state: score(1) }), { invalid: 'unknown judge "style": expected one of state' });
  const counting = await shaper([{ per: "turn", range: [0, 4] }]);
  assert.deepEqual(counting({ state: { abstain: "a" } }), { invalid: "every judge abstains" });
});

Deno.test("shape() orders any two rollouts by the first criterion in which their ranks differ", async () => {
  const random = stream(7, "lexicographic");
  const tolerance = 0.125;
  const shape = await shaper([
    { judge: "one", tolerance },
    { judge: "two", tolerance },
    { per: "turn", range: [0, 5], tolerance: 1 },
  ]);
  const made = Array.from(
    { length: 1500 },
    () => ({ judgements: judgementsFrom(random), trajectory: trajectoryFrom(random) }),
  );
  const ranked: { ranks: number[]; value: number }[] = [];
  for (const { judgements, trajectory } of made) {
    const reward = shape(judgements, trajectory);
    if ("invalid" in reward) {
      assert.match(reward.invalid, /^(one|two): broke$|^every judge abstains$/);
      continue;
    }
    const sum = Object.values(reward.parts).reduce((total, part) => total + part, 0);
    assert.ok(Math.abs(sum - reward.value) < 1e-9 && reward.value >= 0 && reward.value <= 1);
    const { one, two } = judgements;
    if (!("score" in one!) || !("score" in two!)) continue;
    ranked.push({
      ranks: [Math.floor(one.score * 8), Math.floor(two.score * 8), -trajectory.turns.length],
      value: reward.value,
    });
  }
  assert.ok(ranked.length > 500);
  for (const [i, a] of ranked.entries()) {
    for (const b of ranked.slice(i + 1)) {
      const differs = a.ranks.findIndex((rank, k) => rank !== b.ranks[k]);
      const order = differs < 0 ? 0 : Math.sign(a.ranks[differs]! - b.ranks[differs]!);
      assert.equal(Math.sign(a.value - b.value), order);
    }
  }
});

Deno.test("config refuses criteria that rank nothing, or more than a number holds", () => {
  const problems = (...criteria: unknown[]) =>
    plugin.config.safeParse({ criteria }).error?.issues.flatMap((issue) =>
      issue.code === "invalid_union" ? issue.errors.flat().filter(({ code }) => code === "custom") : [issue]
    ).map(({ message }) => message);
  assert.deepEqual(problems({ judge: "state", per: "turn", range: [0, 3] }), ["must have either `judge` or `per`"]);
  assert.deepEqual(problems({ per: "turn" }), ["must have a `range` of counts that are told apart, such as [0, 8]"]);
  assert.deepEqual(problems({ judge: "state", range: [1, 0] }), ["must be the lowest value, then a higher one"]);
  assert.deepEqual(problems({ judge: "state", tolerance: 2 }), [
    "must not be larger than the range, of which everything would be a tie",
  ]);
  const fine = { judge: "state", tolerance: 1e-5 };
  assert.deepEqual(problems(fine, fine, fine), [
    "must tell at most 1000000000000 rewards apart: raise a tolerance, or remove a criterion",
  ]);
});
