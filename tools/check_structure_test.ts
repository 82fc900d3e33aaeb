import assert from "node:assert/strict";
import { dirname, join } from "node:path";

const WORKER = "plugins/trainer/worker/hone_worker";

/** Runs the check over a folder with these files. */
async function check(files: Record<string, string>) {
  const dir = await Deno.makeTempDir();
  try {
    for (const [file, text] of Object.entries(files)) {
      await Deno.mkdir(join(dir, dirname(file)), { recursive: true });
      await Deno.writeTextFile(join(dir, file), text);
    }
    const args = ["run", "-A", join(import.meta.dirname!, "check_structure.ts"), dir];
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, out: text(stdout), err: text(stderr) };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const SOUND = {
  "deno.json": JSON.stringify({ imports: { "@hone/hone": "./mod.ts", "zod": "npm:zod@4.6.7" } }),
  "mod.ts": 'export * from "./pipeline/plugin.ts";\n',
  "pipeline/plugin.ts": 'import { z } from "zod";\nimport type { Event } from "./events.ts";\nexport type A = Event;\n',
  "pipeline/events.ts": "export type Event = string;\n",
  "plugins/mod.ts": 'export const table = { state: () => import("./judge/state.ts") };\n',
  "plugins/judge/state.ts": 'import type { A } from "@hone/hone";\nexport default "" as A;\n',
  [`${WORKER}/packing.py`]: "import numpy as np\n",
};

Deno.test("check_structure ends with 0 where every rule is kept", async () => {
  assert.deepEqual(await check(SOUND), { code: 0, out: "structure: 6 files, 0 findings\n", err: "" });
});

Deno.test("check_structure prints what all rules find and ends with 1", async () => {
  const { code, out, err } = await check({
    ...SOUND,
    "pipeline/events.ts": 'import type { A } from "./plugin.ts";\nexport type Event = A;\n',
    "pipeline/chat/state.ts": 'import table from "../../plugins/mod.ts";\n',
    "notes.txt": "",
    "runners/cli/fake_table.ts": "",
    [`${WORKER}/packing.py`]: `import mlx.core as mx\n\n\ndef pack():\n${"    work()\n".repeat(397)}`,
  });
  assert.deepEqual(err.split("\n"), [
    `warning: ${WORKER}/packing.py:401: the file has 401 lines; wanted: at most 400`,
    "pipeline/chat/state.ts:1: imports ../../plugins/mod.ts; wanted: the core knows no plugin and no runner",
    `${WORKER}/packing.py:1: imports mlx.core; wanted: neutral modules load without any engine; engine_choice.py alone ` +
    "imports one",
    "pipeline/events.ts:1: a circle of files: pipeline/events.ts → pipeline/plugin.ts → pipeline/events.ts; wanted: " +
    "files that import one way; move what both need into a file of its own",
    "notes.txt:1: lies loose at the top level; wanted: only mod.ts, deno.json, deno.lock, README.md, CHANGELOG.md, " +
    "AGENTS.md, LICENSE, SECURITY.md, .gitignore lie there",
    `${WORKER}/packing.py:4: pack has 398 lines; wanted: at most 60; split it where two things live together`,
    "plugins/judge/state.ts:1: a second module called state.ts, after pipeline/chat/state.ts; wanted: a name of its own " +
    "that says what is in it",
    "runners/cli/fake_table.ts:1: fake_table.ts is named as a test double; wanted: doubles under tests/fixtures/",
    "",
  ]);
  assert.equal(out, "structure: 8 files, 7 findings\n");
  assert.equal(code, 1);
});
