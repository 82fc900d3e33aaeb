/**
 * What a person waits for before hone does anything: `--help`, the help of a verb, `--version`. Whole processes.
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname!, "../../mod.ts");

function hone(...words: string[]): string {
  return execFileSync(Deno.execPath(), ["run", "-A", PROGRAM, ...words], { encoding: "utf8" });
}

assert.match(hone("--help"), /verbs:/);

Deno.bench("hone --help, a whole process", { group: "cli" }, () => {
  hone("--help");
});

Deno.bench("hone run --help, a whole process", { group: "cli" }, () => {
  hone("run", "--help");
});

Deno.bench("hone --version, a whole process", { group: "cli" }, () => {
  hone("--version");
});
