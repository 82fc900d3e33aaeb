import assert from "node:assert/strict";
import { conformance } from "@hone/hone/testing";
import { matrixLines } from "./generate/coverage_matrix.ts";
import { factsOf, isGrounded } from "./generate/facts.ts";
import { signature, similarity } from "./generate/minhash.ts";
import { split } from "./generate/combination_split.ts";
import plugin from "./generate.ts";

conformance(plugin);

Deno.test("similarity() estimates how many shingles two texts share", () => {
  const of = (a: string, b: string) => similarity(signature(a), signature(b));
  assert.equal(of("Move the file to the box.", "move the FILE to the box"), 1);
  assert.equal(of("one two three four", "five six seven eight"), 0);
  // Four of the six shingles.
  const some = of("a b c d e f g", "a b c d e f h");
  assert.ok(Math.abs(some - 4 / 6) < 0.15, String(some));
});

const item = (combination: string, id: number) => ({
  combination,
  scenario: { id: `${combination}-${id}`, task: "", split: "train" as const, tags: [], checks: [] },
});

Deno.test("split() holds out whole combinations of tools, those of several tools first", () => {
  const items = ["read", "write", "read+write", "list+read"].flatMap((name) =>
    [1, 2, 3, 4].map((id) => item(name, id))
  );
  const { scenarios, note } = split(items, { heldout: 0.25, validation: 0.125 }, 7);
  const ids = (name: string) => scenarios.filter((one) => one.split === name).map(({ id }) => id.split("-")[0]);
  assert.deepEqual([ids("train").length, ids("validation").length, ids("heldout").length], [10, 2, 4]);
  assert.equal(new Set(ids("heldout")).size, 1);
  assert.match(ids("heldout")[0]!, /\+/);
  assert.equal(note, "held-out has 1 of 4 combinations of tools, none of which is in train");
  assert.deepEqual(scenarios, split(items, { heldout: 0.25, validation: 0.125 }, 7).scenarios);
});

Deno.test("split() says that too few combinations are split by scenario", () => {
  const items = [1, 2, 3, 4].map((id) => item("read", id));
  const { scenarios, note } = split(items, { heldout: 0.25, validation: 0 }, 7);
  assert.equal(scenarios.filter((one) => one.split === "heldout").length, 1);
  assert.equal(
    note,
    "only 1 combination of tools, fewer than 3: split by scenario, so held-out has combinations that are in train too",
  );
});

Deno.test("factsOf() finds what a question can ask for, and nothing that the next environment would not have", () => {
  const facts = (text: string, structuredContent: object | null = null) =>
    factsOf({ text, result: JSON.parse(JSON.stringify({ structuredContent })) }, "/tmp/run/work").map((
      { form, label, value },
    ) => [form, label, value].join(" "));
  assert.deepEqual(facts("The sum of 2 and 40 is 42."), ["number  42", "text  The sum of 2 and 40 is 42."]);
  assert.deepEqual(facts("[FILE] a.txt\n[DIR] box"), ["count entries 2"]);
  assert.deepEqual(facts("[FILE] a.txt"), ["item  a.txt", "count entries 1"]);
  assert.deepEqual(facts("/tmp/run/work/box/a.txt"), ["text  box/a.txt"]);
  assert.deepEqual(facts("size: 12\ncreated: Mon Jan 01 2024 10:00:00 GMT"), ["field size 12"]);
  assert.deepEqual(facts("", { temperature: 33, at: "2024-01-01" }), ["field temperature 33"]);
  assert.deepEqual(facts("/etc/passwd"), []);
});

Deno.test("isGrounded() needs a result that states the value", () => {
  const result = { text: "[FILE] a.txt\n[FILE] b.txt", result: null };
  assert.equal(isGrounded("b.txt", [result], null), true);
  assert.equal(isGrounded(2, [result], null), true);
  assert.equal(isGrounded(3, [result], null), false);
  assert.equal(isGrounded("c.txt", [result], null), false);
  assert.equal(isGrounded("a.txt", [], null), false);
});

Deno.test("matrixLines() shows scenarios by tool and kind of argument", () => {
  assert.deepEqual(matrixLines({ write_file: { new_path: 2, text: 12 }, ping: { none: 1 } }), [
    "tool        new_path  text  none",
    "write_file         2    12     -",
    "ping               -     -     1",
  ]);
});
