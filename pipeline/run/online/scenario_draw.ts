/**
 * Selects the scenarios of a training step. Families (a scenario's first tag) take turns, so that all steps have a
 * similar mix and a trend over steps is a trend of the policy; within a family the order is a seeded shuffle, without
 * repeats until all its scenarios were used. A pure function of (scenarios, seed, step): resume needs no state.
 * @module
 */
import type { Scenario } from "../../events.ts";
import { shuffled, stream } from "../../common/random.ts";

/** Scenarios in a shuffled order in which families take turns, so that its first n are a fair sample. */
export function inTurns(scenarios: Scenario[], random: () => number): Scenario[] {
  const families = new Map<string, Scenario[]>();
  for (const scenario of shuffled(scenarios, random)) {
    const family = scenario.tags[0] ?? "";
    families.set(family, [...families.get(family) ?? [], scenario]);
  }
  return Array.from({ length: scenarios.length }, (_, turn) => [...families.values()].map((f) => f[turn]))
    .flat().filter((scenario) => scenario !== undefined);
}

/** Selects the scenarios of a step. */
export class ScenarioDraw {
  #families: Scenario[][];
  #seed: number;

  constructor(scenarios: Scenario[], seed: number) {
    const families = new Map<string, Scenario[]>();
    for (const scenario of scenarios) {
      const family = scenario.tags[0] ?? "";
      families.set(family, [...families.get(family) ?? [], scenario]);
    }
    this.#seed = seed;
    this.#families = [...families.entries()].sort(([a], [b]) => a < b ? -1 : 1).map(([, members]) => members);
  }

  /** The `count` scenarios of step `step` (from 0). */
  draw(step: number, count: number): Scenario[] {
    const drawn: Scenario[] = [];
    for (let i = step * count; i < (step + 1) * count; i++) {
      const family = this.#families[i % this.#families.length]!;
      const turn = Math.floor(i / this.#families.length);
      const lap = Math.floor(turn / family.length);
      const order = shuffled(family, stream(this.#seed, `sampler ${i % this.#families.length} ${lap}`));
      drawn.push(order[turn % family.length]!);
    }
    return drawn;
  }
}
