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

Deno.test("ScenarioDraw.draw() with weights gives every family its turn, and repeats no scenario in a step", () => {
  const draw = new ScenarioDraw(all, 7);
  const weights = ({ id }: Scenario) => id.endsWith("0") ? 1 : 0.1;
  const steps = Array.from({ length: 60 }, (_, step) => draw.draw(step, 6, weights));
  for (const step of steps) {
    assert.deepEqual(step.map((s) => s.tags[0]).sort(), ["a", "a", "b", "b", "c", "c"]);
    assert.equal(new Set(step).size, 6);
  }
  const preferred = steps.flat().filter(({ id }) => id.endsWith("0")).length;
  // Three of the six places of a step could be theirs at most.
  assert.ok(preferred > 0.7 * 180, String(preferred));
  assert.deepEqual(draw.draw(3, 6, weights), new ScenarioDraw(all, 7).draw(3, 6, weights));
  assert.equal(draw.draw(0, 15, () => 0).length, 15, "no weights at all, and more places than scenarios");
});

Deno.test("ScenarioDraw.replace() stays in the family while it has unused scenarios", () => {
  const draw = new ScenarioDraw(all, 7);
  const drawn = [all[0]!, all[1]!, all[4]!];
  const used = drawn.map(({ id }) => id);
  const chosen = draw.replace(0, drawn, used, { count: 9 });
  assert.deepEqual(chosen.map(({ tags }) => tags[0]), ["a", "a", "b"]);
  assert.equal(new Set([...used, ...chosen.map(({ id }) => id)]).size, 6);
  assert.deepEqual(draw.replace(0, drawn, used, { count: 1 }), chosen.slice(0, 1));
  const family = all.filter(({ tags }) => tags[0] === "a");
  const [other] = draw.replace(0, family.slice(0, 1), family.map(({ id }) => id), { count: 1 });
  assert.notEqual(other!.tags[0], "a");
  assert.deepEqual(draw.replace(0, family, all.map(({ id }) => id), { count: 4 }), []);
});
