import assert from "node:assert/strict";
import { agreement, type Ratings } from "./agreement.ts";
import { seededRng } from "./rng.ts";

const times = (n: number, ...ratings: Ratings): Ratings[][] => Array.from({ length: n }, () => [ratings]);

Deno.test("agreement() gives the kappa of Cohen's definition, and an interval around it", () => {
  // A worked example: 20 both yes, 15 both no, 5 and 10 apart; chance 0.5.
  const { accuracy, kappa } = agreement([
    ...times(20, true, true),
    ...times(5, true, false),
    ...times(10, false, true),
    ...times(15, false, false),
  ]);
  assert.equal(accuracy.mean, 0.7);
  assert.equal(accuracy.n, 50);
  assert.ok(Math.abs(kappa!.value - 0.4) < 1e-12);
  assert.ok(kappa!.low > 0.1 && kappa!.low < 0.2 && kappa!.high > 0.58 && kappa!.high < 0.65);
});

Deno.test("agreement() is no point where raters always agree, and has no kappa where both say the same of all", () => {
  const { accuracy, kappa } = agreement([...times(5, true, true), ...times(5, false, false)]);
  assert.deepEqual([accuracy.mean, kappa!.value, kappa!.high], [1, 1, 1]);
  assert.ok(kappa!.low > 0.4 && kappa!.low < 0.6);
  assert.equal(agreement(times(5, true, true)).kappa, null);
  assert.deepEqual(agreement([]), { accuracy: { mean: 0, low: 0, high: 1, n: 0 }, kappa: null });
});

Deno.test("agreement() covers the true kappa in about 95 % of samples", () => {
  const random = seededRng(3);
  let covered = 0;
  for (let sample = 0; sample < 500; sample++) {
    // Yes in half of the cases; the second rater agrees in 0.8 of them: kappa 0.6.
    const ratings = Array.from({ length: 40 }, (): Ratings[] => {
      const truth = random() < 0.5;
      return [[truth, random() < 0.8 ? truth : !truth]];
    });
    const { low, high } = agreement(ratings).kappa!;
    if (low <= 0.6 && 0.6 <= high) covered++;
  }
  assert.ok(covered >= 465, `${covered} of 500`);
});
