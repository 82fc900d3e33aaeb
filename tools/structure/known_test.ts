import assert from "node:assert/strict";
import { type Finding, lineOf } from "./finding.ts";
import { withoutKnown } from "./known.ts";

Deno.test("withoutKnown() leaves out what is known and finds the entries that are mended", () => {
  const finding = (file: string): Finding => ({ rule: "arrows", file, line: 4, problem: "imports x", wanted: "y" });
  const since = "2026-11-24";
  const open = withoutKnown([finding("a/b.ts"), finding("a.ts"), finding("ab/c.ts")], [
    { since, rule: "arrows", under: "a/" },
    { since, rule: "circles", under: "a/" },
    { since, rule: "arrows", under: "a.ts" },
  ]);
  assert.deepEqual(open.map(lineOf), [
    "ab/c.ts:4: imports x; wanted: y",
    "tools/structure/known.ts:1: nothing is found for circles in a/ any more; wanted: the list without this entry",
  ]);
});
