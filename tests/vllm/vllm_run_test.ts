/**
 * Whole runs whose rollouts come from a real vLLM: a real worker, a real MCP server, the built-in model. Part of
 * `deno task test:vllm`, since vLLM takes gigabytes and minutes.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cacheDir } from "../../pipeline/common/cache_dir.ts";
import { folder, messages, rows, type Running, start } from "../runs/hone_process.ts";
import { descendants, leftovers, type Process } from "../runs/processes.ts";

const PIPELINE = join(import.meta.dirname!, "pipeline.yaml");

function begun(run_dir: string): Running {
  return start(["run", PIPELINE, "--run-dir", run_dir, "--yes"], cacheDir());
}

/** Waits until a run has started vLLM: all processes of the run, and the folder of the server's socket. */
async function starting(running: Running): Promise<{ known: Process[]; socket_dir: string }> {
  for (;;) {
    const known = await descendants(running.pid);
    const words = known.map(({ command }) => command.split(" ")).find((words) => words.includes("--uds"));
    if (words) return { known, socket_dir: dirname(words[words.indexOf("--uds") + 1]!) };
    if (!running.live()) throw new Error(`the run ended before vLLM started:\n${(await running.ended).err}`);
    await sleep(40);
  }
}

Deno.test("Ctrl-C while vLLM starts ends the run with the way to go on, and leaves nothing of vLLM", async () => {
  await using home = await folder();
  const run_dir = join(home.path, "run");
  const running = begun(run_dir);
  const { known, socket_dir } = await starting(running);
  running.kill("SIGINT");
  const { code, err } = await running.ended;
  assert.equal(code, 130);
  assert.match(messages(err, run_dir), /^interrupted: `hone resume \{dir\}` continues the run\n$/m);
  assert.deepEqual(await leftovers(run_dir, known), []);
  assert.equal(existsSync(socket_dir), false);
});

Deno.test("a run trains on what vLLM sampled, token by token, and ends with its verdict and adapter", async () => {
  await using home = await folder();
  const run_dir = join(home.path, "run");
  const running = begun(run_dir);
  const { known, socket_dir } = await starting(running);
  const { code, err } = await running.ended;
  assert.equal(code, 0, err);
  const inexact = `SELECT turn FROM turns
    WHERE logprobs IS NULL OR len(output_ids) = 0 OR len(output_ids) <> len(logprobs)`;
  assert.deepEqual(await rows(run_dir, inexact), []);
  const versions = "SELECT DISTINCT step, policy_version FROM rollouts WHERE purpose = 'train' ORDER BY ALL";
  assert.deepEqual((await rows(run_dir, versions)).map((row) => Object.values(row).map(Number)), [[1, 0], [2, 1]]);
  const steps = await rows(
    run_dir,
    `SELECT step, metrics->>'rows' AS rows, metrics->>'forks' AS forks, metrics->>'mismatch_abs' AS mismatch
     FROM train_steps ORDER BY step`,
  );
  assert.deepEqual(steps.map(({ step, forks }) => [Number(step), Number(forks)]), [[1, 0], [2, 0]]);
  for (const { mismatch } of steps) assert.ok(Number(mismatch) < 1e-3, String(mismatch));
  const verdict = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.deepEqual(Object.keys(verdict.policies), ["base", "tuned"]);
  assert.ok(existsSync(join(run_dir, "adapter/adapter_model.safetensors")));
  assert.deepEqual(await leftovers(run_dir, known), []);
  assert.equal(existsSync(socket_dir), false);
});
