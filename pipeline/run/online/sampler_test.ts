import assert from "node:assert/strict";
import type { Scenario } from "../../events.ts";
import { Sampler } from "./sampler.ts";

const scenario = (id: string, tag: string): Scenario => ({ id, task: id, split: "train", tags: [tag], checks: [] });
const all = ["a", "b", "c"].flatMap((tag) => Array.from({ length: 4 }, (_, i) => scenario(`${tag}${i}`, tag)));

Deno.test("Sampler.draw() gives every family its turn when a step has as many groups as families", () => {
  const sampler = new Sampler(all, 7);
  for (let step = 0; step < 8; step++) {
    assert.deepEqual(sampler.draw(step, 3).map((s) => s.tags[0]).sort(), ["a", "b", "c"]);
  }
});

Deno.test("Sampler.draw() repeats no scenario until its family is used up", () => {
  const sampler = new Sampler(all, 7);
  const lap = Array.from({ length: 4 }, (_, step) => sampler.draw(step, 3)).flat().map((s) => s.id);
  assert.equal(new Set(lap).size, 12);
});

Deno.test("Sampler.draw() depends on seed and step alone", () => {
  assert.deepEqual(new Sampler(all, 3).draw(5, 4), new Sampler(all, 3).draw(5, 4));
  assert.notDeepEqual(new Sampler(all, 3).draw(0, 12), new Sampler(all, 4).draw(0, 12));
});
