import assert from "node:assert/strict";
import { preferences, type Preferred } from "./preference.ts";
import { seededRng } from "./rng.ts";

Deno.test("preferences() counts ties half, and turns round where the sides are exchanged", () => {
  const made = preferences([["win"], ["win"], ["tie"], ["loss"], ["win", "tie"]]);
  const { wins, ties, losses, share } = made;
  assert.deepEqual({ wins, ties, losses, n: share.n, mean: share.mean }, {
    wins: 3,
    ties: 2,
    losses: 1,
    n: 6,
    mean: 4 / 6,
  });
  const turned = preferences([["loss"], ["loss"], ["tie"], ["win"], ["loss", "tie"]]);
  assert.ok(Math.abs(turned.share.low - (1 - share.high)) < 1e-9);
  assert.ok(share.low < 0.5 && share.high > share.mean);
});

Deno.test("preferences() knows nothing without pairs, and is not sure of a side that won them all", () => {
  assert.deepEqual(preferences([]).share, { mean: 0.5, low: 0, high: 1, n: 0 });
  const { share } = preferences(Array(12).fill(["win"]));
  assert.ok(share.mean === 1 && share.high === 1 && share.low > 0.6 && share.low < 0.95, JSON.stringify(share));
});

Deno.test("preferences() covers the true share in at least 93 % of samples", () => {
  const random = seededRng(1);
  for (const [win, tie] of [[0.5, 0], [0.3, 0.4], [0.8, 0.1], [0.05, 0.9]] as const) {
    let covered = 0;
    for (let sample = 0; sample < 1000; sample++) {
      const drawn = Array.from({ length: 48 }, (): Preferred[] => {
        const at = random();
        return [at < win ? "win" : at < win + tie ? "tie" : "loss"];
      });
      const { low, high } = preferences(drawn).share;
      if (low <= win + tie / 2 && win + tie / 2 <= high) covered++;
    }
    assert.ok(covered >= 930, `${win} ${tie}: ${covered}`);
  }
});
