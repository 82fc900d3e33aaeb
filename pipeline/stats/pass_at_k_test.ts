import assert from "node:assert/strict";
import { meanAtK, passAtK, passHatK } from "./pass_at_k.ts";
import { wilson } from "./proportion.ts";

Deno.test("passAtK() and passHatK() are the shares of all subsets of k attempts", () => {
  const attempts = { tries: 5, successes: 2 };
  const all = [1, 1, 0, 0, 0];
  for (const k of [1, 2, 3, 4, 5]) {
    const chosen = subsets(all, k);
    assert.equal(passAtK(attempts, k).toFixed(12), mean(chosen.map((s) => Math.max(...s))).toFixed(12));
    assert.equal(passHatK(attempts, k).toFixed(12), mean(chosen.map((s) => Math.min(...s))).toFixed(12));
  }
});

Deno.test("meanAtK() leaves out scenarios with fewer attempts than k", () => {
  const scenarios = [{ tries: 2, successes: 1 }, { tries: 1, successes: 1 }];
  assert.deepEqual(meanAtK(scenarios, 2, passAtK, 1), wilson(1, 1));
});

Deno.test("meanAtK() has Wilson's interval near 0 and the bootstrap's elsewhere, which repeats itself", () => {
  const rare = Array.from({ length: 40 }, (_, i) => ({ tries: 4, successes: i < 2 ? 1 : 0 }));
  assert.deepEqual(meanAtK(rare, 2, passAtK, 1), wilson(2 * 0.5, 40));
  const mixed = Array.from({ length: 40 }, (_, i) => ({ tries: 4, successes: i % 5 }));
  const interval = meanAtK(mixed, 2, passHatK, 1);
  assert.equal(interval.mean.toFixed(6), ((0 + 0 + 1 / 6 + 1 / 2 + 1) / 5).toFixed(6));
  assert.ok(
    interval.low < interval.mean && interval.mean < interval.high && interval.low > 0.15 && interval.high < 0.5,
  );
  assert.deepEqual(meanAtK(mixed, 2, passHatK, 1), interval);
});

function subsets(items: number[], k: number): number[][] {
  if (k === 0) return [[]];
  return items.flatMap((item, i) => subsets(items.slice(i + 1), k - 1).map((rest) => [item, ...rest]));
}

function mean(values: number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}
