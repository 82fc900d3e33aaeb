import assert from "node:assert/strict";
import { circles } from "./circles.ts";
import { type Import, lineOf } from "./finding.ts";

const WANTED = "wanted: files that import one way; move what both need into a file of its own";

/** `a b` is an import of b by a; `a ~b` a lazy one. Lines are counted from 1. */
function found(...arrows: string[]): string[] {
  const imports = arrows.map((arrow, index): Import => {
    const [file, target] = arrow.replace("~", "").split(" ") as [string, string];
    return { file, line: index + 1, specifier: target, target, lazy: arrow.includes("~") };
  });
  return circles(imports).map(lineOf);
}

Deno.test("circles() finds none where files import one way, lazily back or what lies outside", () => {
  assert.deepEqual(found("a.ts b.ts", "a.ts c.ts", "b.ts c.ts", "c.ts zod", "c.ts ~a.ts"), []);
});

Deno.test("circles() shows one shortest circle of every set of files that reach each other", () => {
  assert.deepEqual(found("z.ts a.ts", "a.ts b.ts", "b.ts c.ts", "c.ts a.ts", "c.ts b.ts", "y.py x.py", "x.py y.py"), [
    `b.ts:3: a circle of files: b.ts → c.ts → b.ts (and 1 more that reach each other); ${WANTED}`,
    `x.py:7: a circle of files: x.py → y.py → x.py; ${WANTED}`,
  ]);
});

Deno.test("circles() finds a file that imports itself", () => {
  assert.deepEqual(found("a.ts a.ts"), [`a.ts:1: a circle of files: a.ts → a.ts; ${WANTED}`]);
});
