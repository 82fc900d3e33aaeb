import assert from "node:assert/strict";
import { groupAdvantages, shuffleRewards } from "./advantage.ts";
import { stream } from "../../common/random.ts";

const mean = { advantage: "mean", advantage_eps: 1e-4, min_group_size: 2 } as const;

Deno.test("groupAdvantages() centres on the mean of the valid rewards when some are invalid", () => {
  assert.deepEqual(groupAdvantages([1, 0, null, 0.5], mean), [0.5, -0.5, null, 0]);
});

Deno.test("groupAdvantages() divides by population std plus eps when asked to", () => {
  const scaled = groupAdvantages([1, 0], { ...mean, advantage: "mean_std", advantage_eps: 0.1 });
  assert.deepEqual(scaled, [0.5 / 0.6, -0.5 / 0.6]);
});

Deno.test("groupAdvantages() says why a group has no learning signal", () => {
  assert.equal(groupAdvantages([0.4, 0.4, 0.4], mean), "zero_variance");
  assert.equal(groupAdvantages([1, null, null], mean), "too_small");
  assert.equal(groupAdvantages([1, 0, null], { ...mean, min_group_size: 3 }), "too_small");
});

Deno.test("shuffleRewards() keeps the multiset of rewards and the place of invalid ones", () => {
  const rewards = [1, null, 0, 0.4, 0.2, 0];
  const dealt = shuffleRewards(rewards, stream(7, "control"));
  assert.equal(dealt[1], null);
  const sorted = (list: (number | null)[]) => list.filter((x) => x !== null).sort();
  assert.deepEqual(sorted(dealt), sorted(rewards));
  assert.notDeepEqual(dealt, rewards);
});
