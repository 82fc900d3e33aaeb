import assert from "node:assert/strict";
import { incompleteBeta, logGamma } from "./beta.ts";

Deno.test("incompleteBeta() is the tail of the binomial distribution when both parameters are whole", () => {
  // At least 2 of 4 fair coins: 11 of 16.
  assert.equal(incompleteBeta(2, 3, 0.5).toFixed(12), (11 / 16).toFixed(12));
  assert.equal(incompleteBeta(1, 64, 0.05).toFixed(12), (1 - 0.95 ** 64).toFixed(12));
  assert.deepEqual([incompleteBeta(2, 3, 0), incompleteBeta(2, 3, 1)], [0, 1]);
});

Deno.test("incompleteBeta() is the arcsine law when both parameters are one half", () => {
  assert.equal(incompleteBeta(0.5, 0.5, 0.3).toFixed(12), (2 / Math.PI * Math.asin(Math.sqrt(0.3))).toFixed(12));
});

Deno.test("logGamma() is the logarithm of factorials, and of the root of π at one half", () => {
  assert.equal(logGamma(11).toFixed(10), Math.log(3628800).toFixed(10));
  assert.equal(logGamma(0.25).toFixed(10), Math.log(3.625609908221908).toFixed(10));
  assert.equal(logGamma(0.5).toFixed(12), (Math.log(Math.PI) / 2).toFixed(12));
});
