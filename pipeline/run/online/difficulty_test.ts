import assert from "node:assert/strict";
import { splitProbability } from "./difficulty.ts";

const round = (value: number) => Number(value.toFixed(4));

Deno.test("splitProbability() is that of the Beta-binomial distribution", () => {
  // Uniform prior: each number of successes of n is as likely, so all or none have 2 / (n + 1).
  assert.equal(round(splitProbability([], 8)), round(1 - 2 / 9));
  // Beta(3, 1): E[p^2] = 3/4 × 4/5, E[(1 - p)^2] = 1/4 × 2/5.
  assert.equal(round(splitProbability([{ passed: 2, judged: 2 }], 2)), round(1 - 0.6 - 0.1));
});

Deno.test("splitProbability() is highest for even odds, and what is recent counts most", () => {
  const of = (passed: number) => splitProbability([{ passed, judged: 8 }], 8);
  assert.ok(of(4) > of(2) && of(2) > of(1) && of(1) > of(0));
  assert.equal(round(of(0)), round(of(8)));
  const [hard, even] = [{ passed: 0, judged: 8 }, { passed: 4, judged: 8 }];
  assert.ok(splitProbability([hard, even], 8) > splitProbability([even, hard], 8));
});
