import assert from "node:assert/strict";
import { fakeScenario, fakeToolCall } from "../testing.ts";
import type { Json, Scenario } from "../events.ts";
import { unsupportedValues } from "./answer_support.ts";

/** Values of an answer to a task that nothing supports, given the text of one result. */
function unsupported(answer: string, text = "", given: Partial<Scenario> = {}, result: Json = null): string[] {
  const scenario = fakeScenario({ task: 'Look into "box" for Ada.', solution: { calls: [], answer }, ...given });
  return unsupportedValues(scenario, [{ ...fakeToolCall("look"), text, result }]);
}

Deno.test("unsupportedValues() finds numbers and quoted texts that occur in no result, task or setup", () => {
  assert.deepEqual(unsupported('"box" holds "maple" and 42 coins.', "nothing of the kind"), ['"maple"', "42"]);
  assert.deepEqual(unsupported('"box" holds "maple" and 42 coins.', "Maple\ncoins: 42"), []);
  assert.deepEqual(unsupported("Done."), []);
  const setup = { files: { "a.txt": "7 items" }, calls: [{ tool: "add", arguments: { entity: { name: "Grace" } } }] };
  assert.deepEqual(unsupported('`a.txt` has 7 items; "Grace" was there.', "", { setup }), []);
});

Deno.test("unsupportedValues() reads numbers as people write them, and lets an answer round and count", () => {
  assert.deepEqual(unsupported("It is 1,234.", "1234"), []);
  assert.deepEqual(unsupported("It is 23.4.", "23.41"), []);
  assert.deepEqual(unsupported("It is 23.5.", "23.41"), ["23.5"]);
  assert.deepEqual(unsupported("There are 3 files.", "a\nb\n\nc"), []);
  assert.deepEqual(unsupported("There are 2 people.", "[]", {}, { structuredContent: { people: ["a", "b"] } }), []);
});

Deno.test("unsupportedValues() asks for the expected answer too, and knows nothing of a scenario without a solution", () => {
  assert.deepEqual(unsupported("As expected.", "oak", { answer: { equals: "maple" } }), ['"maple"']);
  assert.deepEqual(unsupported("As expected.", "maple", { answer: { equals: "maple" } }), []);
  assert.deepEqual(unsupportedValues(fakeScenario({ answer: { equals: "maple" } }), []), []);
});
