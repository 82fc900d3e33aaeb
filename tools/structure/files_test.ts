import assert from "node:assert/strict";
import { longFiles } from "./file_length.ts";
import { lineOf } from "./finding.ts";
import { looseFiles } from "./loose_files.ts";
import { moduleNames } from "./module_names.ts";
import { testDoubles } from "./test_doubles.ts";

Deno.test("looseFiles() lets what the layout names lie in its folder, and anything deeper", () => {
  const files = ["mod.ts", "SECURITY.md", "pipeline/bus.ts", "pipeline/bus_test.ts", "pipeline/testing.ts"];
  const deeper = ["plugins/mod.ts", "pipeline/run/x.ts", "runners/cli/x.ts", "docs/x.md", "tools/x.ts", ".ci/run"];
  assert.deepEqual(looseFiles([...files, ...deeper]), []);
});

Deno.test("looseFiles() names what lies loose and what may", () => {
  const files = ["notes.md", "pipeline/json.ts", "plugins/shared.ts", "runners/verb.ts"];
  assert.deepEqual(looseFiles(files).map(lineOf), [
    "notes.md:1: lies loose at the top level; wanted: only mod.ts, deno.json, deno.lock, README.md, CHANGELOG.md, " +
    "AGENTS.md, LICENSE, SECURITY.md, .gitignore lie there",
    "pipeline/json.ts:1: lies loose in pipeline/; wanted: only plugin.ts, kinds.ts, events.ts, bus.ts, loader.ts, " +
    "testing.ts lie there",
    "plugins/shared.ts:1: lies loose in plugins/; wanted: only mod.ts, README.md lie there",
    "runners/verb.ts:1: lies loose in runners/; wanted: folders only",
  ]);
});

Deno.test("moduleNames() finds a second module of a name, tests, cases, examples and shared names left out", () => {
  const files = [
    "pipeline/chat/mod.ts",
    "pipeline/tape/mod.ts",
    "a/table.ts",
    "b/table.ts",
    "b/table.py",
    "c/table.py",
  ];
  const free = ["a/x_test.ts", "b/x_test.ts", "tests/cases/a/table.ts", "examples/a/table.ts", "d/__init__.py"];
  assert.deepEqual(moduleNames([...files, ...free, "e/__init__.py"]).map(lineOf), [
    "b/table.ts:1: a second module called table.ts, after a/table.ts; wanted: a name of its own that says what is in it",
    "c/table.py:1: a second module called table.py, after b/table.py; wanted: a name of its own that says what is in it",
  ]);
});

Deno.test("testDoubles() finds doubles by the name of a file, a folder or an export", () => {
  const wanted = "is named as a test double; wanted: doubles under tests/fixtures/";
  const files = new Map([
    ["pipeline/run/fake_bus.ts", ""],
    ["pipeline/scripted/trainer.ts", ""],
    ["plugins/judge/sample_report.ts", ""],
    [
      "pipeline/chat/replies.ts",
      "const a = 1;\n\nexport async function scriptedReply() {}\nexport class MockServer {}\n",
    ],
    ["plugins/trainer/worker/hone_worker/loop.py", "import os\n\n\nclass FakeModel:\n    pass\n"],
  ]);
  assert.deepEqual(testDoubles(files).map(lineOf), [
    `pipeline/run/fake_bus.ts:1: fake_bus.ts ${wanted}`,
    `pipeline/scripted/trainer.ts:1: scripted ${wanted}`,
    `plugins/judge/sample_report.ts:1: sample_report.ts ${wanted}`,
    `pipeline/chat/replies.ts:3: scriptedReply ${wanted}`,
    `pipeline/chat/replies.ts:4: MockServer ${wanted}`,
    `plugins/trainer/worker/hone_worker/loop.py:4: FakeModel ${wanted}`,
  ]);
});

Deno.test("testDoubles() lets tests, the public doubles and names that only begin alike be", () => {
  const files = new Map([
    ["tests/fixtures/fake_worker.ts", "export class FakeWorker {}"],
    ["plugins/trainer/worker/tests/fake_model.py", ""],
    ["pipeline/bus_test.ts", "export class FakeStore {}"],
    ["pipeline/testing.ts", "export function fakeContext() {}"],
    ["pipeline/run/online/sampler.ts", "export function sampleScenario() {}\nexport const stubborn = 1;"],
    ["pipeline/run/scriptedness.ts", "export function tell(fake: string) {}"],
  ]);
  assert.deepEqual(testDoubles(files), []);
});

Deno.test("longFiles() warns of a file with more than 400 lines", () => {
  const files = new Map([["a.ts", "x\n".repeat(400)], ["b.py", "x\n".repeat(401)]]);
  assert.deepEqual(longFiles(files), ["warning: b.py:401: the file has 401 lines; wanted: at most 400"]);
});
