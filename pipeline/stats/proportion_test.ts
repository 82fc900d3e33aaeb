import assert from "node:assert/strict";
import {
  clusteredPairedDifference,
  clusteredProportion,
  midP,
  type Pair,
  pairedDifference,
  wilson,
} from "./proportion.ts";
import { seededRng } from "./rng.ts";

const round = (x: number, digits: number) => Number(x.toFixed(digits)) + 0;

Deno.test("wilson() gives the published limits of Newcombe 1998, table I, method 3", () => {
  for (
    const [successes, n, low, high] of [
      [81, 263, 0.2553, 0.3662],
      [15, 148, 0.0624, 0.1605],
      [0, 20, 0, 0.1611],
      [1, 29, 0.0061, 0.1718],
    ] as const
  ) {
    const interval = wilson(successes, n);
    assert.deepEqual([round(interval.low, 4), round(interval.high, 4)], [low, high]);
    assert.equal(interval.n, n);
  }
});

Deno.test("wilson() stays inside 0 and 1 and says that nothing is known when n is 0", () => {
  assert.equal(wilson(64, 64).high, 1);
  assert.equal(wilson(0, 64).low, 0);
  assert.ok(wilson(64, 64).low < 1);
  assert.deepEqual(wilson(0, 0), { mean: 0, low: 0, high: 1, n: 0 });
});

Deno.test("pairedDifference() gives the limits published for Bentur's 21 pairs (Fagerland 2014: -0.517 to -0.026)", () => {
  const interval = pairedDifference(1, 7, 21);
  assert.deepEqual([round(interval.low, 3), round(interval.high, 3)], [-0.517, -0.026]);
  assert.equal(round(interval.mean, 6), round(-6 / 21, 6));
});

Deno.test("pairedDifference() gives the limits of R's PropCIs::scoreci.mp(25, 28, 618) at 90 %", () => {
  const interval = pairedDifference(28, 25, 618, 1.6448536269514722);
  assert.deepEqual([round(interval.low, 4), round(interval.high, 4)], [-0.0148, 0.0247]);
});

Deno.test("pairedDifference() is z²/(n+z²) wide each way when no pair is discordant", () => {
  const z2 = 1.959963984540054 ** 2;
  const { low, high } = pairedDifference(0, 0, 44);
  assert.equal(round(low, 8), round(-z2 / (44 + z2), 8));
  assert.equal(round(high, 8), round(z2 / (44 + z2), 8));
});

Deno.test("pairedDifference() mirrors when the two sides swap, and ends at 1 when every pair was gained", () => {
  const one = pairedDifference(9, 2, 40), other = pairedDifference(2, 9, 40);
  assert.equal(round(one.low, 9), round(-other.high, 9));
  assert.equal(round(one.high, 9), round(-other.low, 9));
  assert.equal(pairedDifference(30, 0, 30).high, 1);
  assert.ok(pairedDifference(30, 0, 30).low < 1);
});

Deno.test("midP() gives the published limits of Newcombe 1998, table I, method 6", () => {
  for (
    const [successes, n, low, high] of [
      [81, 263, 0.2544, 0.3658],
      [15, 148, 0.0601, 0.1581],
      [0, 20, 0, 0.1391],
      [1, 29, 0.0017, 0.1585],
    ] as const
  ) {
    const limits = midP(successes, n);
    assert.deepEqual([round(limits.low, 4), round(limits.high, 4)], [low, high]);
  }
});

Deno.test("clusteredProportion() has the wider of Wilson's and mid-P's limits near 0 and 1", () => {
  const { low, high } = clusteredProportion(Array.from({ length: 64 }, (_, i) => [i < 1]));
  assert.deepEqual([low, high], [midP(1, 64).low, wilson(1, 64).high]);
});

Deno.test("clusteredProportion() equals wilson() when every scenario was tried once, far from 0 and 1", () => {
  const clusters = Array.from({ length: 64 }, (_, i) => [i < 41]);
  assert.deepEqual(clusteredProportion(clusters), wilson(41, 64));
});

Deno.test("clusteredProportion() counts tries that always agree once", () => {
  const clusters = Array.from({ length: 20 }, (_, i) => Array<boolean>(5).fill(i < 8));
  const interval = clusteredProportion(clusters), once = clusteredProportion(clusters.map(([first]) => [first!]));
  assert.equal(round(interval.low, 2), round(once.low, 2));
  assert.equal(round(interval.high, 2), round(once.high, 2));
  assert.equal(interval.n, 100);
  const all = clusteredProportion(Array.from({ length: 20 }, () => [true, true, true]));
  assert.equal(round(all.low, 9), round(wilson(20, 20).low, 9));
});

Deno.test("clusteredPairedDifference() equals pairedDifference() when every scenario was tried once", () => {
  const clusters: Pair[][] = Array.from({ length: 50 }, (_, i) => [{ policy: i < 30, against: i < 2 || i === 40 }]);
  const { low, high } = pairedDifference(28, 1, 50);
  const interval = clusteredPairedDifference(clusters);
  assert.deepEqual([interval.low, interval.high], [low, high]);
});

Deno.test("pairedDifference() covers the truth in about 95 % of simulated runs of 64 scenarios", () => {
  const random = seededRng(3);
  for (const [base, tuned] of [[0.02, 0.6], [0.4, 0.55], [0.9, 0.95]] as const) {
    let covered = 0;
    const runs = 1500;
    for (let run = 0; run < runs; run++) {
      let gained = 0, lost = 0;
      for (let i = 0; i < 64; i++) {
        const x = random() < tuned, y = random() < base;
        if (x && !y) gained++;
        if (y && !x) lost++;
      }
      const { low, high } = pairedDifference(gained, lost, 64);
      if (low <= tuned - base && tuned - base <= high) covered++;
    }
    assert.ok(covered / runs > 0.935 && covered / runs < 0.975, `${base} → ${tuned}: ${covered / runs}`);
  }
});

Deno.test("clusteredPairedDifference() covers the truth when four tries of one scenario go together", () => {
  const random = seededRng(5);
  const runs = 800;
  let clustered = 0, naive = 0;
  for (let run = 0; run < runs; run++) {
    const clusters = Array.from({ length: 48 }, () => {
      // Easy scenarios succeed at 0.9, hard ones at 0.1; the tuned policy finds more of them easy.
      const easyForBase = random() < 0.25, easyForTuned = random() < 0.5;
      return Array.from({ length: 4 }, () => ({
        policy: random() < (easyForTuned ? 0.9 : 0.1),
        against: random() < (easyForBase ? 0.9 : 0.1),
      }));
    });
    const truth = 0.25 * 0.8;
    const wide = clusteredPairedDifference(clusters);
    const narrow = clusteredPairedDifference(clusters.flat().map((pair) => [pair]));
    if (wide.low <= truth && truth <= wide.high) clustered++;
    if (narrow.low <= truth && truth <= narrow.high) naive++;
  }
  assert.ok(clustered / runs > 0.925 && clustered / runs < 0.98, `clustered: ${clustered / runs}`);
  assert.ok(naive / runs < 0.85, `without clusters: ${naive / runs}`);
});
