import assert from "node:assert/strict";
import { countJunit, verdictOf } from "./test.ts";

Deno.test("countJunit() counts what passed, failed and was skipped", () => {
  const xml = `<testsuites tests="5"><testsuite name="a" tests="5">
    <testcase name="one" time="0.1"/>
    <testcase name="two"></testcase>
    <testcase name="three"><failure message="no">why</failure></testcase>
    <testcase name="four"><error message="broke"/></testcase>
    <testcase name="five"><skipped/></testcase>
  </testsuite></testsuites>`;
  assert.deepEqual(countJunit(xml), { passed: 2, failed: 2, skipped: 1 });
});

Deno.test("verdictOf() fails a suite that broke or ran nothing", () => {
  assert.deepEqual(verdictOf({ passed: 3, failed: 0, skipped: 0 }, 0), { passed: 3, failed: 0, skipped: 0 });
  assert.deepEqual(verdictOf({ passed: 3, failed: 0, skipped: 0 }, 1), { passed: 3, failed: 1, skipped: 0 });
  assert.deepEqual(verdictOf({ passed: 0, failed: 0, skipped: 2 }, 0), { passed: 0, failed: 1, skipped: 2 });
  assert.deepEqual(verdictOf({ passed: 3, failed: 2, skipped: 0 }, 1), { passed: 3, failed: 2, skipped: 0 });
});
