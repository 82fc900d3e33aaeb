/**
 * Selects the scenarios of a training step. Families (a scenario's first tag) take turns, so that all steps have a
 * similar mix and a trend over steps is a trend of the policy; within a family the order is a seeded shuffle, without
 * repeats until all its scenarios were used, or, where scenarios have weights, a weighted draw without repeats in the
 * step. A pure function of (scenarios, seed, step, weights): resume needs no state.
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

/** The weight of a scenario in a draw, at least 0. */
export type Weights = (scenario: Scenario) => number;

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

  /** The `count` scenarios of step `step` (from 0), by weight if there are weights. */
  draw(step: number, count: number, weights?: Weights): Scenario[] {
    const drawn: Scenario[] = [];
    for (let i = step * count; i < (step + 1) * count; i++) {
      const at = i % this.#families.length;
      const family = this.#families[at]!;
      const turn = Math.floor(i / this.#families.length);
      const lap = Math.floor(turn / family.length);
      if (weights) {
        const unused = family.filter((scenario) => !drawn.includes(scenario));
        const random = stream(this.#seed, `sampler by weight ${i}`);
        drawn.push(picked(unused.length > 0 ? unused : family, weights, random));
      } else {
        drawn.push(shuffled(family, stream(this.#seed, `sampler ${at} ${lap}`))[turn % family.length]!);
      }
    }
    return drawn;
  }

  /**
   * At most `count` scenarios in place of these, in their order: of the same family while it has any that are not `used`
   * in the step, then of any family.
   */
  replace(
    step: number,
    scenarios: Scenario[],
    used: Iterable<string>,
    { count, weights = () => 1 }: { count: number; weights?: Weights },
  ): Scenario[] {
    const taken = new Set(used);
    const chosen: Scenario[] = [];
    for (const { tags } of scenarios.slice(0, count)) {
      const unused = this.#families.flat().filter(({ id }) => !taken.has(id));
      const own = unused.filter((scenario) => (scenario.tags[0] ?? "") === (tags[0] ?? ""));
      if (unused.length === 0) break;
      const random = stream(this.#seed, `replacement ${step} ${taken.size}`);
      const one = picked(own.length > 0 ? own : unused, weights, random);
      chosen.push(one);
      taken.add(one.id);
    }
    return chosen;
  }
}

/** One of the scenarios, by weight; if none has any, all have the same. */
function picked(scenarios: Scenario[], weights: Weights, random: () => number): Scenario {
  const total = scenarios.reduce((sum, scenario) => sum + weights(scenario), 0);
  let left = random() * (total > 0 ? total : scenarios.length);
  for (const scenario of scenarios) {
    left -= total > 0 ? weights(scenario) : 1;
    if (left < 0) return scenario;
  }
  return scenarios.at(-1)!;
}
