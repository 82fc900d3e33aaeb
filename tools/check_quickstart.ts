/**
 * Checks what the newest run of examples/files promises: files that a run leaves, and a tuned policy whose 95 % interval
 * over base lies above +0.15 on held-out scenarios. Ends with `N passed, N failed`.
 * Run: deno run -A tools/check_quickstart.ts [run]
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findRun } from "../pipeline/store/live_run.ts";

const PROMISED = 0.15;
const FILES = [
  "run.duckdb",
  "pipeline.yaml",
  "verdict.json",
  "report.md",
  "report.html",
  "adapter/adapter_model.safetensors",
  "run.log",
];

const dir = await findRun(Deno.args[0] ?? "latest");
const verdict = JSON.parse(readFileSync(join(dir, "verdict.json"), "utf8"));
const checks: [string, boolean][] = [
  ...FILES.map((name): [string, boolean] => [`${name} is there`, existsSync(join(dir, name))]),
  [
    `tuned minus base is ${verdict.difference.mean.toFixed(2)} (${verdict.difference.low.toFixed(2)} to ${
      verdict.difference.high.toFixed(2)
    }), promised above ${PROMISED}`,
    verdict.difference.low > PROMISED,
  ],
];
for (const [what, holds] of checks) console.log(`${holds ? "ok" : "FAILED"}: ${what}`);
const failed = checks.filter(([, holds]) => !holds).length;
console.log(`${checks.length - failed} passed, ${failed} failed`);
Deno.exit(failed === 0 ? 0 : 1);
