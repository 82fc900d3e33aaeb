import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { WORKER_DIR } from "../../pipeline/program/worker_env.ts";
import { VERBS } from "../verbs/mod.ts";
import { compileCommand, EMBEDDED, TARGETS } from "./build.ts";

const ROOT = join(import.meta.dirname!, "../..");

function deno(...words: string[]) {
  return spawnSync(Deno.execPath(), words, { encoding: "utf8", cwd: ROOT });
}

Deno.test("the binary's entry is the command line: help, exit codes, refusals", () => {
  const help = deno("run", "-A", "runners/binary/main.ts", "--help");
  assert.equal(help.status, 0);
  for (const { name } of VERBS) assert.match(help.stdout, new RegExp(`^  ${name} `, "m"));
  const refused = deno("run", "-A", "runners/binary/main.ts", "nonsense");
  assert.equal(refused.status, 2);
  assert.match(refused.stderr, /^error\[UNKNOWN_VERB\]/);
});

Deno.test("compileCommand() embeds what exists, the worker among it, and only flags that this Deno knows", () => {
  for (const path of EMBEDDED) assert.ok(existsSync(join(ROOT, path)), path);
  assert.ok(EMBEDDED.some((path) => join(ROOT, path).startsWith(WORKER_DIR)));
  const { stdout } = deno("compile", "--help=full");
  for (const flag of compileCommand(TARGETS[0]).filter((word) => word.startsWith("--"))) {
    assert.ok(stdout.includes(flag), flag);
  }
});

Deno.test("build refuses a target that it does not know", () => {
  const { status, stderr } = deno("run", "-A", "runners/binary/build.ts", "sparc");
  assert.equal(status, 2);
  assert.equal(stderr, `Cannot build for "sparc": expected one of ${TARGETS.join(", ")}\n`);
});
