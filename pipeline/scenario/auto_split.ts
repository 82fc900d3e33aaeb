/**
 * The split of a dataset that has none: which tasks are held out depends on their texts alone, so that it is the same on
 * every machine and in every order. Scenarios of one task stay together.
 * @module
 */
import { hash32 } from "../common/random.ts";
import type { Scenario } from "../events.ts";

const HELD_OUT = 0.2;

/** Holds out a fifth of the tasks, rounded up; all train where there is only one. */
export function autoSplit(scenarios: Scenario[]): Scenario[] {
  const taskOf = ({ task }: Scenario) => task.trim();
  const tasks = [...new Set(scenarios.map(taskOf))];
  const drawn = tasks.sort((a, b) => hash32(a) - hash32(b) || (a < b ? -1 : 1));
  const heldout = new Set(drawn.slice(0, tasks.length > 1 ? Math.ceil(tasks.length * HELD_OUT) : 0));
  return scenarios.map((scenario) => ({ ...scenario, split: heldout.has(taskOf(scenario)) ? "heldout" : "train" }));
}
