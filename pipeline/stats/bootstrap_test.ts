import assert from "node:assert/strict";
import { bootstrapMean, quantile } from "./bootstrap.ts";
import { seededRng } from "./rng.ts";

/** Survival days of the seven treated mice of Efron and Tibshirani 1993, table 2.1. */
const MICE = [94, 197, 16, 38, 99, 141, 23];

Deno.test("bootstrapMean() gives the published standard error when run on Efron and Tibshirani's mice", () => {
  const interval = bootstrapMean(MICE.map((days) => [days]), { seed: 1, resamples: 20000 });
  assert.equal(interval.mean.toFixed(2), "86.86");
  // Table 2.2: the bootstrap standard error of the mean is 23.36 in the limit (23.02 at 1000 resamples).
  const error = (interval.high - interval.low) / (2 * 1.96);
  assert.ok(Math.abs(error - 23.36) < 0.7, String(error));
});

Deno.test("bootstrapMean() repeats itself when the seed is the same and differs when it is not", () => {
  const values = MICE.map((days) => [days]);
  assert.deepEqual(bootstrapMean(values, { seed: 4 }), bootstrapMean(values, { seed: 4 }));
  assert.notDeepEqual(bootstrapMean(values, { seed: 4 }), bootstrapMean(values, { seed: 5 }));
});

Deno.test("bootstrapMean() resamples scenarios when tries repeat, so copies add nothing", () => {
  const once = bootstrapMean(MICE.map((days) => [days]), { seed: 2 });
  const copies = bootstrapMean(MICE.map((days) => [days, days, days]), { seed: 2 });
  assert.deepEqual([copies.low, copies.high], [once.low, once.high]);
  assert.deepEqual([once.n, copies.n], [7, 21]);
});

Deno.test("bootstrapMean() covers the truth in about 95 % of simulated runs of 64 scenarios", () => {
  const random = seededRng(11);
  let covered = 0;
  const runs = 400;
  for (let run = 0; run < runs; run++) {
    const values = Array.from({ length: 64 }, () => [-Math.log(1 - random())]);
    const { low, high } = bootstrapMean(values, { seed: run, resamples: 600 });
    if (low <= 1 && 1 <= high) covered++;
  }
  assert.ok(covered / runs > 0.9 && covered / runs < 0.98, String(covered / runs));
});

Deno.test("bootstrapMean() gives with many scenarios what resampling gives, skewed and uneven ones included", () => {
  const random = seededRng(13);
  const values = Array.from(
    { length: 600 },
    (_, i) => Array.from({ length: 1 + i % 3 }, () => Math.exp(1.5 * Math.sqrt(-2 * Math.log(1 - random())))),
  );
  const computed = bootstrapMean(values), resampled = bootstrapMean(values, { seed: 1, resamples: 40000 });
  const width = resampled.high - resampled.low;
  assert.deepEqual([computed.mean, computed.n], [resampled.mean, resampled.n]);
  assert.ok(Math.abs(computed.low - resampled.low) < 0.02 * width, JSON.stringify({ computed, resampled }));
  assert.ok(Math.abs(computed.high - resampled.high) < 0.02 * width, JSON.stringify({ computed, resampled }));
  assert.ok(computed.high - computed.mean > 1.01 * (computed.mean - computed.low), "as skewed as the values");
  assert.deepEqual(bootstrapMean(Array(600).fill([2])), { mean: 2, low: 2, high: 2, n: 600 });
});

Deno.test("quantile() interpolates between neighbours", () => {
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2.5);
  assert.equal(quantile([1, 2, 3, 4], 1), 4);
});

Deno.test("seededRng() is uniform and differs when the seed does", () => {
  const random = seededRng(9), other = seededRng(10);
  const draws = Array.from({ length: 20000 }, () => random());
  assert.ok(draws.every((x) => x >= 0 && x < 1));
  assert.ok(Math.abs(draws.reduce((a, b) => a + b, 0) / draws.length - 0.5) < 0.01);
  assert.notEqual(draws[0], other());
});
