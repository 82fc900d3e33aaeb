import assert from "node:assert/strict";
import { join } from "node:path";
import { ROOT } from "../sources.ts";
import { lineOf } from "./finding.ts";
import plugin from "./function_length.ts";
import { longPythonFunctions } from "./python_length.ts";

const MESSAGE = "a function of 61 lines; wanted: at most 60; split it where two things live together";

/** What the rule says of a text, each message with what stands where it points. */
function found(text: string, file = "pipeline/example.ts"): [string, string][] {
  return Deno.lint.runPlugin(plugin, join(ROOT, file), text)
    .map(({ message, range: [from, to] }) => [message, text.slice(from, to).trim()]);
}

/** A body that makes a function of so many lines. */
function body(lines: number): string {
  return `{\n${"  work();\n".repeat(lines - 2)}}`;
}

Deno.test("function-length reports functions, arrow functions and methods of more than 60 lines, by their head", () => {
  assert.deepEqual(found(`// Gemäß\nexport function long() ${body(61)}`), [[MESSAGE, "function long()"]]);
  assert.deepEqual(found(`const long = async (a: string) => ${body(61)};`), [[MESSAGE, "async (a: string) =>"]]);
  assert.deepEqual(found(`definePlugin({\n  create({ log }) ${body(61)},\n});`), [[MESSAGE, "create({ log })"]]);
  assert.deepEqual(found(`class A {\n  *long() ${body(61)}\n}`), [[MESSAGE, "*long()"]]);
});

Deno.test("function-length lets 60 lines be, long literals and tests", () => {
  assert.deepEqual(found(`function short() ${body(60)}`), []);
  assert.deepEqual(found(`defineVerb({\n${"  a: 1,\n".repeat(70)}});`), []);
  assert.deepEqual(found(`Deno.test("long", () => ${body(61)});`, "pipeline/example_test.ts"), []);
});

Deno.test("longPythonFunctions() finds functions and methods of more than 60 lines, tests left out", () => {
  const text = (lines: number) =>
    `class A:\n    @cached\n    def long(self):\n${"        work()\n".repeat(lines - 1)}\n\nx = 1\n`;
  const files = new Map([["a.py", text(61)], ["b.py", text(60)], ["tests/test_a.py", text(61)]]);
  assert.deepEqual(longPythonFunctions(files).map(lineOf), [
    "a.py:3: long has 61 lines; wanted: at most 60; split it where two things live together",
  ]);
});
