import assert from "node:assert/strict";
import { fakeScenario } from "../testing.ts";
import type { JsonObject, ToolSpec } from "../events.ts";
import { alteredAnswer, alteredCalls } from "./altered_solution.ts";

/** What replaces each argument of one call, and whether the task names it. */
function altered(task: string, args: JsonObject, properties: JsonObject = {}, changes = true) {
  const scenario = fakeScenario({ task, solution: { calls: [{ tool: "add", arguments: args }], answer: "Done." } });
  const tool = { server: "it", name: "add", model_name: "add", input_schema: { properties } } as unknown as ToolSpec;
  return alteredCalls(scenario, { tools: [tool], changes: () => changes })
    .map(({ field, to, named }) => [field, to, named]);
}

Deno.test("alteredCalls() replaces one value at a time by another of its shape, those that the task names first", () => {
  const args = {
    path: "/box/tree.txt",
    count: 5,
    force: true,
    note: "${workdir}/Zz9",
    kind: "b",
    none: null,
    empty: "",
  };
  assert.deepEqual(altered('Put 5 trees into "tree.txt".', args, { kind: { enum: ["b", "c"] } }), [
    ["path", "/box/usff.uyu", true],
    ["count", 10, true],
    ["force", false, false],
    ["note", "${workdir}/Aa0", false],
    ["kind", "c", false],
  ]);
  assert.deepEqual(altered("Name Ada.", { list: [{ name: "Ada" }] }), [["list[0].name", "Beb", true]]);
  assert.deepEqual(altered("Write 15.", { count: 5 }), [["count", 10, false]]);
});

Deno.test("alteredCalls() leaves calls alone that change nothing", () => {
  assert.deepEqual(altered("Name Ada.", { name: "Ada" }, {}, false), []);
});

Deno.test("alteredAnswer() says something else", () => {
  const { field, to } = alteredAnswer(fakeScenario({ solution: { calls: [], answer: "It is 42." } }));
  assert.deepEqual([field, to], ["answer", "Ju jt 53."]);
});
