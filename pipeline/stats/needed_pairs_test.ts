import assert from "node:assert/strict";
import { neededPairs } from "./needed_pairs.ts";
import { pairedDifference } from "./proportion.ts";
import { seededRng } from "./rng.ts";

Deno.test("neededPairs() is the same for a loss as for a gain, and without end for no difference", () => {
  // ψ = 0.35, δ = 0.15: (1.96 √0.35 + 0.8416 √0.3275)² / 0.0225.
  assert.equal(neededPairs(0.35, 0.15), 120);
  assert.equal(neededPairs(0.35, -0.15), 120);
  assert.equal(neededPairs(0.2, 0), Infinity);
});

Deno.test("neededPairs() gives as many pairs as exclude zero in about 80 % of simulated runs", () => {
  const random = seededRng(4);
  const [gain, loss] = [0.2, 0.08];
  const n = neededPairs(gain + loss, gain - loss);
  let found = 0;
  for (let run = 0; run < 2000; run++) {
    let gained = 0, lost = 0;
    for (let i = 0; i < n; i++) {
      const x = random();
      if (x < gain) gained++;
      else if (x < gain + loss) lost++;
    }
    if (pairedDifference(gained, lost, n).low > 0) found++;
  }
  assert.ok(found / 2000 > 0.77 && found / 2000 < 0.84, String(found / 2000));
});
