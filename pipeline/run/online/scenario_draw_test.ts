import assert from "node:assert/strict";
import type { Scenario } from "../../events.ts";
import { stream } from "../../common/random.ts";
import { inTurns, ScenarioDraw } from "./scenario_draw.ts";

const scenario = (id: string, tag: string): Scenario => ({ id, task: id, split: "train", tags: [tag], checks: [] });
const all = ["a", "b", "c"].flatMap((tag) => Array.from({ length: 4 }, (_, i) => scenario(`${tag}${i}`, tag)));

Deno.test("ScenarioDraw.draw() gives every family its turn when a step has as many groups as families", () => {
  const sampler = new ScenarioDraw(all, 7);
  for (let step = 0; step < 8; step++) {
    assert.deepEqual(sampler.draw(step, 3).map((s) => s.tags[0]).sort(), ["a", "b", "c"]);
  }
});

Deno.test("ScenarioDraw.draw() repeats no scenario until its family is used up", () => {
  const sampler = new ScenarioDraw(all, 7);
  const lap = Array.from({ length: 4 }, (_, step) => sampler.draw(step, 3)).flat().map((s) => s.id);
  assert.equal(new Set(lap).size, 12);
});

Deno.test("ScenarioDraw.draw() depends on seed and step alone", () => {
  assert.deepEqual(new ScenarioDraw(all, 3).draw(5, 4), new ScenarioDraw(all, 3).draw(5, 4));
  assert.notDeepEqual(new ScenarioDraw(all, 3).draw(0, 12), new ScenarioDraw(all, 4).draw(0, 12));
});

Deno.test("inTurns() gives every scenario once, and its first ones are of all families", () => {
  const uneven = [...all, ...Array.from({ length: 8 }, (_, i) => scenario(`d${i}`, "d"))];
  const order = inTurns(uneven, stream(7, "sample"));
  assert.deepEqual(order.map(({ id }) => id).sort(), uneven.map(({ id }) => id).sort());
  assert.deepEqual(order.slice(0, 4).map(({ tags }) => tags[0]).sort(), ["a", "b", "c", "d"]);
  assert.deepEqual(order.slice(-4).map(({ tags }) => tags[0]), ["d", "d", "d", "d"]);
  assert.deepEqual(order, inTurns(uneven, stream(7, "sample")));
});
