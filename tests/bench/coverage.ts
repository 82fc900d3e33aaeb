/**
 * Measures how often the verdict's 95 % intervals hold the truth, by simulation: single proportions and paired
 * differences, over rates from 0 to 1, numbers of scenarios and tries, and how far tries and policies agree. Prints the
 * least favourable cases as Markdown, and fails if one is below 93 %.
 *
 * `deno task bench:coverage [runs]`
 * @module
 */
import { clusteredPairedDifference, clusteredProportion } from "../../pipeline/stats/proportion.ts";
import { seededRng } from "../../pipeline/stats/rng.ts";
import { simulatedPairs, simulatedTries } from "../fixtures/simulated_successes.ts";

const RATES = [0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 1];
/** Those of the pairs. */
const OF_PAIRS = [0, 0.01, 0.1, 0.5, 0.9, 0.99, 1];
const SCENARIOS = [32, 64, 128, 256];
/** Tries of a scenario, and their correlation. */
const REPEATS = [[1, 0], [4, 0], [4, 0.3], [4, 0.7], [4, 1]] as const;
const BETWEEN = [0, 0.5, 1];
const LEAST = 0.93;

interface Case {
  what: string;
  scenarios: number;
  covered: number;
}

/** So many times more runs decide on a case that seems to lie below the limit: of thousands, chance puts some there. */
const CLOSER = 10;

/** The share of the simulated intervals that hold the truth. */
function share(runs: number, truth: number, interval: () => { low: number; high: number }): number {
  const counted = (runs: number) => {
    let covered = 0;
    for (let run = 0; run < runs; run++) {
      const { low, high } = interval();
      // Rounding: at a truth of exactly 0 or ±1 the limit is the truth.
      if (low <= truth + 1e-12 && truth <= high + 1e-12) covered++;
    }
    return covered / runs;
  };
  const first = counted(runs);
  return first < LEAST ? counted(runs * CLOSER) : first;
}

function* singles(runs: number): Generator<Case> {
  for (const scenarios of SCENARIOS) {
    for (const [tries, within] of REPEATS) {
      for (const rate of RATES) {
        const random = seededRng(Math.round(rate * 1000) + scenarios);
        const covered = share(
          runs,
          rate,
          () => clusteredProportion(simulatedTries(random, scenarios, rate, { tries, within })),
        );
        yield { what: `rate ${rate}, ${words(tries, within)}`, scenarios, covered };
      }
    }
  }
}

function* differences(runs: number): Generator<Case> {
  for (const scenarios of SCENARIOS) {
    for (const [tries, within] of REPEATS) {
      for (const between of BETWEEN) {
        for (const [i, policy] of OF_PAIRS.entries()) {
          for (const against of OF_PAIRS.slice(0, i + 1)) {
            const random = seededRng(Math.round(policy * 1e6 + against * 1000) + scenarios);
            const of = { tries, within, between };
            const covered = share(
              runs,
              policy - against,
              () => clusteredPairedDifference(simulatedPairs(random, scenarios, [policy, against], of)),
            );
            const what = `rates ${policy} and ${against}, ${words(tries, within)}, ${between} shared`;
            yield { what, scenarios, covered };
          }
        }
      }
    }
  }
}

function words(tries: number, within: number): string {
  return tries === 1 ? "1 try" : `${tries} tries with correlation ${within}`;
}

function table(name: string, cases: Case[]): string {
  const rows = SCENARIOS.map((scenarios) => {
    const mine = cases.filter((one) => one.scenarios === scenarios);
    const mean = mine.reduce((sum, { covered }) => sum + covered, 0) / mine.length;
    const least = mine.reduce((least, one) => one.covered < least.covered ? one : least);
    return `| ${scenarios} | ${percent(mean)} | ${percent(least.covered)} (${least.what}) |`;
  });
  return [`| ${name}: scenarios | mean of ${cases.length / SCENARIOS.length} cases | least |`, "|---|---|---|", ...rows]
    .join("\n");
}

function percent(value: number): string {
  return `${(100 * value).toFixed(1)} %`;
}

if (import.meta.main) {
  const runs = Number(Deno.args[0] ?? 2000);
  const [single, paired] = [[...singles(runs)], [...differences(runs)]];
  console.log(`${table("one policy", single)}\n\n${table("difference", paired)}`);
  const low = [...single, ...paired].filter(({ covered }) => covered < LEAST);
  for (const { what, scenarios, covered } of low) console.log(`below: ${percent(covered)} ${scenarios}, ${what}`);
  if (low.length > 0) Deno.exit(1);
}
