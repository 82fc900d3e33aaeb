/** Servers that cannot be used and scenarios that cannot be played end a run with a whole message and no process. @module */
import assert from "node:assert/strict";
import { cp, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { leftovers } from "./processes.ts";
import { folder, messages, SCRIPTED, startRun, together } from "./support.ts";

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
    message:
      `error[COMMAND_NOT_FOUND] Cannot start "no-such-program": no such program on PATH (or no folder "{dir}/env/0000/work")
  hint: install it, or write its full path in command:
`,
  },
  {
    name: "a server that exits",
    values: {
      "servers.files.command": "sh",
      "servers.files.args": ["-c", "echo cannot find my settings >&2; exit 3"],
    },
    message: `error[SERVER_START_FAILED] Server "files" cannot be used: it exited with code 3. It wrote:
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
    message: `error[SERVER_START_TIMEOUT] Server "files" did not answer within 1 s of its start. It wrote:
still warming up
  hint: raise servers.files.start_timeout_secs (or --start-timeout-secs) if it is only slow, as a first download is
`,
  },
  {
    name: "scenarios with one id",
    scenarios: `- { id: one, split: train, ${WRITE} }\n- { id: one, split: heldout, ${WRITE} }\n`,
    message:
      `./scenarios.yaml:2:9 error[DUPLICATE_SCENARIO] Scenario id "one" is taken by ./scenarios.yaml:1: ids are unique
   2 | - { id: one, split: heldout, tags: [write], task: Write., checks: [{ file: a.txt }] }
     |         ^^^
`,
  },
  {
    name: "a check that names a missing tool",
    scenarios: `- { id: one, split: train, ${WRITE} }
- { id: two, split: heldout, tags: [w], task: Write., checks: [{ call: { tool: read_txt_file, arguments: { path: a } }, equals: x }] }
`,
    message:
      `./scenarios.yaml:2:80 error[SCENARIO_UNKNOWN_TOOL] Scenario "two" names tool "read_txt_file" in checks, and no server has it: did you mean "read_text_file"?
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
  assert.equal(messages(err, run_dir), message + "failed: `hone resume {dir}` goes on from here\n");
  assert.deepEqual([code, out], [1, ""]);
});
