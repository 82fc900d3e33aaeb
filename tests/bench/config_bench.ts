/**
 * What it costs to check a pipeline of 200 lines: in this process, and as the whole `validate` command.
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { examinePipeline } from "../../pipeline/config/pipeline_file.ts";
import { builtins } from "../../plugins/mod.ts";

const ROOT = join(import.meta.dirname!, "../..");
const dir = mkdtempSync(join(tmpdir(), "hone-bench-"));
globalThis.addEventListener("unload", () => rmSync(dir, { recursive: true, force: true }));

/** A pipeline of 200 lines: twelve servers, several judges, example exchanges. */
function pipeline(): string {
  const servers = Array.from({ length: 12 }, (_, i) =>
    [
      `  files_${i}:`,
      "    command: npx",
      '    args: [-y, "@modelcontextprotocol/server-filesystem@2026.8.31", "${workdir}"]',
      "    tools:",
      "      - read_text_file",
      "      - write_file",
      "      - list_directory",
      "    reset: workdir",
      "    call_timeout_secs: 20",
    ].join("\n"));
  const stages = [
    "discoverer/mcp",
    "rollout/chat",
    "reward-shaper/weighted",
    "trainer/mlx",
    ...Array(12).fill("judge/state"),
    ...Array(6).fill("judge/answer"),
  ].map((use) => `  - use: ${use}`);
  const source = "  - use: scenario-source/file\n    with:\n      path: ./scenarios.yaml";
  const examples = Array.from({ length: 20 }, (_, i) => `    - user: What is ${i}?\n      assistant: A number.`);
  const head = "name: bench\nseed: 7\nmodel: smollm2-135m\nagent:\n  max_turns: 4\n  examples:";
  const lines = [head, ...examples, "servers:", ...servers, "stages:", ...stages, source].join("\n").split("\n");
  while (lines.length < 200) lines.push("# a comment");
  return lines.join("\n") + "\n";
}

const file = join(dir, "pipeline.yaml");
const text = pipeline();
assert.equal(text.trimEnd().split("\n").length, 200);
writeFileSync(file, text);
const scenario = (split: string) =>
  `- { id: ${split}, split: ${split}, task: Write it., checks: [{ file: a.txt }], answer: { equals: Done. } }\n`;
writeFileSync(join(dir, "scenarios.yaml"), scenario("train") + scenario("heldout"));
const { diagnostics } = await examinePipeline(text, file, { builtins });
assert.deepEqual(diagnostics, []);

Deno.bench("examine a pipeline of 200 lines, plugins loaded", { group: "config" }, async () => {
  await examinePipeline(text, file, { builtins });
});

Deno.bench(
  "hone validate on a pipeline of 200 lines, process included (wanted: under 300 ms)",
  { group: "config" },
  () => {
    execFileSync(Deno.execPath(), ["run", "-A", join(ROOT, "mod.ts"), "validate", file], { stdio: "pipe" });
  },
);
