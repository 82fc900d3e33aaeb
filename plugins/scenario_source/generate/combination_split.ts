/**
 * Splits scenarios by the combination of tools in their solutions: held-out has combinations that training never sees.
 * Validation has other tasks of the combinations that training sees, as its use demands.
 * @module
 */
import { type Scenario, shuffled, stream } from "@hone/hone";

/** A scenario and the combination of tools that solves it. */
export interface Combined {
  scenario: Scenario;
  combination: string;
}

/** Shares of the splits; training gets the rest. */
export interface Shares {
  validation: number;
  heldout: number;
}

/** Fewer combinations than this are not split between train and held-out. */
const FEWEST = 3;

/** The scenarios with their splits, in the given order, and what was done, as a sentence. */
export function split(items: Combined[], shares: Shares, seed: number): { scenarios: Scenario[]; note: string } {
  const random = stream(seed, "splits");
  const combinations = [...Map.groupBy(items, ({ combination }) => combination)];
  const apart = combinations.length >= FEWEST;
  const heldout = apart
    ? heldoutCombinations(combinations, shares.heldout * items.length, random)
    : new Set(shuffled(items, random).slice(0, Math.round(shares.heldout * items.length)));
  const rest = items.filter((item) => !heldout.has(item));
  const validation = validationOf(shuffled(rest, random), Math.round(shares.validation * items.length));
  const scenarios = items.map((item): Scenario => ({
    ...item.scenario,
    split: heldout.has(item) ? "heldout" : validation.has(item) ? "validation" : "train",
  }));
  const held = new Set([...heldout].map(({ combination }) => combination));
  const note = apart
    ? `held-out has ${held.size} of ${combinations.length} combinations of tools, none of which is in train`
    : `only ${combinations.length} combination${
      combinations.length === 1 ? "" : "s"
    } of tools, fewer than ${FEWEST}: split by scenario, so held-out has ` +
      "combinations that are in train too";
  return { scenarios, note };
}

/** At most so many of the items, whose combinations all stay in training too. */
function validationOf(rest: Combined[], most: number): Set<Combined> {
  const left = new Map(
    [...Map.groupBy(rest, ({ combination }) => combination)].map(([name, all]) => [name, all.length]),
  );
  const chosen = new Set<Combined>();
  for (const item of rest) {
    const others = left.get(item.combination)! - 1;
    if (chosen.size >= most || others === 0) continue;
    left.set(item.combination, others);
    chosen.add(item);
  }
  return chosen;
}

/** Whole combinations: those of several tools first, whose tools training sees in others. */
function heldoutCombinations(combinations: [string, Combined[]][], wanted: number, random: () => number) {
  const order = shuffled(combinations, random);
  const several = order.filter(([name]) => name.includes("+"));
  const chosen: Combined[] = [];
  if (wanted === 0) return new Set(chosen);
  for (const [, items] of [...several, ...order.filter((one) => !several.includes(one))]) {
    if (chosen.length > 0 && chosen.length + items.length > Math.max(wanted, 1) * 1.25) continue;
    chosen.push(...items);
    if (chosen.length >= wanted) break;
  }
  return new Set(chosen);
}
