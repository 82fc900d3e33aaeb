import assert from "node:assert/strict";
import type { Scenario } from "../events.ts";
import { shuffled, stream } from "../common/random.ts";
import { autoSplit } from "./auto_split.ts";

const scenario = (task: string, id = task): Scenario =>
  ({ id, split: "train", task, tags: [], checks: [] }) as Scenario;
const heldout = (scenarios: Scenario[]) =>
  autoSplit(scenarios).filter(({ split }) => split === "heldout").map(({ id }) => id).sort();

Deno.test("autoSplit() holds out a fifth of the tasks, rounded up, and never the only one", () => {
  const tasks = (count: number) => Array.from({ length: count }, (_, i) => scenario(`Say ${i}.`));
  assert.deepEqual([1, 2, 5, 6, 100].map((count) => heldout(tasks(count)).length), [0, 1, 1, 2, 20]);
});

Deno.test("autoSplit() is the same in every order, and keeps scenarios of one task together", () => {
  const all = Array.from({ length: 30 }, (_, i) => scenario(`Say ${i % 15}.`, `${i}`));
  const chosen = heldout(all);
  assert.deepEqual(heldout(shuffled(all, stream(1, "order"))), chosen);
  assert.equal(chosen.length, 6);
  for (const id of chosen) assert.ok(chosen.includes(String((Number(id) + 15) % 30)), id);
});
