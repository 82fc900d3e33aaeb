import assert from "node:assert/strict";
import { simulatedPairs, simulatedTries } from "../../tests/fixtures/simulated_successes.ts";
import { logGamma } from "./beta.ts";
import { clusteredPairedDifference, clusteredProportion, type Pair } from "./proportion.ts";
import { seededRng } from "./rng.ts";

/** The probability of `counts`, of as many trials as they sum to. */
function multinomial(counts: number[], rates: number[]): number {
  const n = counts.reduce((a, b) => a + b, 0);
  const ways = logGamma(n + 1) - counts.reduce((sum, count) => sum + logGamma(count + 1), 0);
  return counts.reduce((p, count, i) => p * rates[i]! ** count, Math.exp(ways));
}

Deno.test("clusteredProportion() covers every rate in at least 93 % of cases, exactly counted", () => {
  for (const n of [32, 64]) {
    const intervals = Array.from({ length: n + 1 }, (_, k) => clusteredProportion(outcomes([true, k], [false, n - k])));
    for (const rate of rates(0.0005, 0.02).concat(rates(0.005, 1))) {
      const covered = intervals.reduce((sum, { low, high }, k) => {
        return low <= rate && rate <= high ? sum + multinomial([k, n - k], [rate, 1 - rate]) : sum;
      }, 0);
      assert.ok(covered >= 0.93, `${n} scenarios, rate ${rate}: ${covered}`);
    }
  }
});

Deno.test("clusteredPairedDifference() covers every difference in at least 93 % of cases, exactly counted", () => {
  const n = 32;
  const cells: [number, number, ReturnType<typeof clusteredPairedDifference>][] = [];
  for (let gained = 0; gained <= n; gained++) {
    for (let lost = 0; gained + lost <= n; lost++) {
      const pairs = outcomes<Pair>([GAINED, gained], [LOST, lost], [SAME, n - gained - lost]);
      cells.push([gained, lost, clusteredPairedDifference(pairs)]);
    }
  }
  const shares = [0, 0.003, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.97, 0.99, 0.995, 1];
  for (const [gain, loss] of shares.flatMap((a) => shares.map((b) => [a, b] as const)).filter(([a, b]) => a + b <= 1)) {
    const covered = cells.reduce((sum, [gained, lost, { low, high }]) => {
      const holds = low <= gain - loss + 1e-12 && gain - loss <= high + 1e-12;
      return holds ? sum + multinomial([gained, lost, n - gained - lost], [gain, loss, 1 - gain - loss]) : sum;
    }, 0);
    assert.ok(covered >= 0.93, `gains ${gain}, losses ${loss}: ${covered}`);
  }
});

for (const within of [0, 0.7, 1]) {
  Deno.test(`both intervals cover in at least 93 % of cases when four tries have correlation ${within}`, () => {
    const random = seededRng(1), runs = 1500, scenarios = 32;
    for (const [policy, against] of [[0.02, 0], [0.5, 0.4], [0.99, 0.01]] as const) {
      const of = { tries: 4, within, between: 0.5 };
      let single = 0, paired = 0;
      for (let run = 0; run < runs; run++) {
        const one = clusteredProportion(simulatedTries(random, scenarios, policy, of));
        const two = clusteredPairedDifference(simulatedPairs(random, scenarios, [policy, against], of));
        if (one.low <= policy && policy <= one.high) single++;
        if (two.low <= policy - against && policy - against <= two.high) paired++;
      }
      assert.ok(single / runs >= 0.93, `${policy}: ${single / runs}`);
      assert.ok(paired / runs >= 0.93, `${policy} and ${against}: ${paired / runs}`);
    }
  });
}

const GAINED: Pair = { policy: true, against: false };
const LOST: Pair = { policy: false, against: true };
const SAME: Pair = { policy: true, against: true };

/** Scenarios with one try each: so many of each outcome. */
function outcomes<T>(...counts: [T, number][]): T[][] {
  return counts.flatMap(([outcome, count]) => Array.from({ length: count }, () => [outcome]));
}

function rates(step: number, to: number): number[] {
  return Array.from({ length: Math.round(to / step) - 1 }, (_, i) => step * (i + 1));
}
