/** Servers that cannot be used and scenarios that cannot be played end a run with a whole message and no process. @module */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { leftovers } from "./processes.ts";
import { folder, hone, messages, ROOT, SCRIPTED, startRun, together } from "./hone_process.ts";

interface Case {
  name: string;
  values?: Record<string, unknown>;
  /** Replaces scenarios.yaml. */
  scenarios?: string;
  /** The whole message; `{dir}` is the folder of the run. */
  message: string;
}

const WRITE = "tags: [write], task: Write., checks: [{ file: a.txt }]";

const CASES: Case[] = [
  {
    name: "a server whose command is missing",
    values: { "servers.files.command": "no-such-program", "servers.files.args": [] },
    message: `error[COMMAND_NOT_FOUND] Cannot start "no-such-program": no such program on PATH
  hint: install it, or set its full path in command:
`,
  },
  {
    name: "a server that exits",
    values: {
      "servers.files.command": "sh",
      "servers.files.args": ["-c", "echo cannot find my settings >&2; exit 3"],
    },
    message: `error[SERVER_START_FAILED] Server "files" failed to start: it exited with code 3. Its stderr:
cannot find my settings
`,
  },
  {
    name: "a server that never answers",
    values: {
      "servers.files.command": "sh",
      "servers.files.args": ["-c", "echo still warming up >&2; exec sleep 600"],
      "servers.files.start_timeout_secs": 1,
    },
    message: `error[SERVER_START_TIMEOUT] Server "files" did not answer within 1 s of starting. Its stderr:
still warming up
  hint: if it is only slow, for example during a first download, raise servers.files.start_timeout_secs (or --start-timeout-secs)
`,
  },
  {
    name: "a check that names a missing tool",
    scenarios: `- { id: one, split: train, ${WRITE} }
- { id: two, split: heldout, tags: [w], task: Write., checks: [{ call: { tool: read_txt_file, arguments: { path: a } }, equals: x }] }
`,
    message:
      `{home}/scenarios.yaml:2:80 error[SCENARIO_UNKNOWN_TOOL] Scenario "two" names tool "read_txt_file" in checks, which no server has: did you mean "read_text_file"?
   2 | - { id: two, split: heldout, tags: [w], task: Write., checks: [{ call: { tool: read_txt_file, arguments: { path: a } }, equals: x }] }
     |                                                                                ^^^^^^^^^^^^^
`,
  },
];

together("hone run explains the whole of", CASES, ({ name }) => name, async ({ values, scenarios, message }) => {
  await using dir = await folder();
  await cp(dirname(SCRIPTED), dir.path, { recursive: true });
  if (scenarios) await writeFile(join(dir.path, "scenarios.yaml"), scenarios);
  const run_dir = join(dir.path, "run");
  const { code, out, err } = await startRun(run_dir, values, join(dir.path, "pipeline.yaml")).ended;
  assert.deepEqual(await leftovers(run_dir), []);
  const closing =
    "failed before the first rollout finished; the run folder was deleted: fix the cause and run it again\n";
  assert.equal(messages(err, run_dir).replaceAll(dir.path, "{home}"), message + closing);
  assert.deepEqual([code, out], [1, ""]);
  assert.equal(existsSync(run_dir), false);
});

Deno.test("hone run refuses bad scenarios before it starts anything, and a folder that is not empty", async () => {
  await using dir = await folder();
  await cp(dirname(SCRIPTED), dir.path, { recursive: true });
  const pipeline = join(dir.path, "pipeline.yaml");
  const text = await readFile(pipeline, "utf8");
  const occupied = await startRun(dir.path, {}, pipeline).ended;
  assert.deepEqual([occupied.code, messages(occupied.err, dir.path)], [
    2,
    'error[FOLDER_NOT_EMPTY] Cannot start a run in "{dir}": the folder is not empty (it holds asking_judge.ts, blind_judge.ts, hosted.yaml, …)\n' +
    "  hint: Set --run-dir to a new or empty folder.\n",
  ]);
  assert.equal(await readFile(pipeline, "utf8"), text);
  await writeFile(
    join(dir.path, "scenarios.yaml"),
    `- { id: one, split: heldout, ${WRITE} }\n- { id: one, ${WRITE} }\n`,
  );
  const run_dir = join(dir.path, "run");
  await mkdir(run_dir);
  const { code, err } = await startRun(run_dir, {}, pipeline).ended;
  assert.deepEqual([code, err.replaceAll(dir.path, "{home}")], [
    2,
    `{home}/scenarios.yaml:2:9 error[DUPLICATE_SCENARIO] Scenario id "one" is taken by {home}/scenarios.yaml:1: ids must be unique
   2 | - { id: one, tags: [write], task: Write., checks: [{ file: a.txt }] }
     |         ^^^
`,
  ]);
  assert.deepEqual(await readdir(run_dir), []);
});

Deno.test("a run that fails after its first rollouts is kept, and resume goes on once its own pipeline is mended", async () => {
  await using dir = await folder();
  await cp(dirname(SCRIPTED), dir.path, { recursive: true });
  await writeFile(join(dir.path, "throwing_exporter.ts"), THROWING_EXPORTER);
  const pipeline = join(dir.path, "pipeline.yaml");
  const text = await readFile(pipeline, "utf8");
  const stage = "  - { id: upload, use: ./throwing_exporter.ts }\n";
  await writeFile(pipeline, text.replace("ladder:", stage + "ladder:"));
  const run_dir = join(dir.path, "run");
  const first = await startRun(run_dir, { "train.steps": 1 }, pipeline).ended;
  const failed = messages(first.err, run_dir);
  assert.match(
    failed,
    /^error\[STAGE_FAILED\] Stage "upload" \(\.\/throwing_exporter\.ts\) failed: the shop is closed\n {2}hint: It was thrown at .*\n/,
  );
  assert.ok(
    failed.endsWith(
      "failed: fix the cause (the run reads {dir}/pipeline.yaml), then `hone resume {dir}` continues the run\n",
    ),
    failed,
  );
  assert.equal(first.code, 4);
  const verdict = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.equal(first.out.split("\n")[0], verdict.sentence);
  assert.match(await readFile(join(run_dir, "report.md"), "utf8"), /\nRun run, failed, \d+\.\d minutes, seed 7/);
  const own = join(run_dir, "pipeline.yaml");
  await writeFile(own, (await readFile(own, "utf8")).replace("./throwing_exporter.ts", "./tracker.ts"));
  const second = await hone("resume", run_dir, "--yes");
  assert.deepEqual([second.code, second.out], [0, `${verdict.sentence}\n${relative(ROOT, run_dir)}/report.html\n`]);
  assert.match(
    await readFile(join(run_dir, "report.md"), "utf8"),
    /\nRun run, completed, \d+\.\d minutes, 2 starts \(before: failed\), seed 7/,
  );
  const again = await hone("resume", run_dir);
  assert.deepEqual([again.code, again.out, again.err], [
    0,
    `complete: nothing left to do; report: ${relative(ROOT, run_dir)}/report.html\n`,
    "",
  ]);
});

const THROWING_EXPORTER = `
import { definePlugin } from "@hone/hone";
import { z } from "zod";
export default definePlugin({
  kind: "exporter",
  name: "closed",
  summary: "Fails.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  create: () => ({ export: () => Promise.reject(new Error("the shop is closed")) }),
});
`;
