/**
 * Whole runs with trainer/lightning on a CPU: a real worker, a real MCP server, a tiny model. Part of
 * `deno task test:lightning`, since it needs the worker's environment with torch.
 * @module
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readFile, symlink } from "node:fs/promises";
import { basename, join } from "node:path";
import { workerEnvState } from "../../pipeline/program/worker_env.ts";
import { writeTinyModel } from "../fixtures/tiny_model.ts";
import { type Ended, folder, rows, type Running, start, until } from "../runs/hone_process.ts";
import { leftovers } from "../runs/processes.ts";

const PIPELINE = join(import.meta.dirname!, "pipeline.yaml");

/** A folder with the tiny model, and a cache of its own with the real environment. */
async function place(): Promise<AsyncDisposable & { path: string; hone(...words: string[]): Running }> {
  const home = await folder();
  const [cache, { home: env }] = [join(home.path, "cache"), await workerEnvState("lightning")];
  await mkdir(cache);
  await symlink(env, join(cache, basename(env)));
  await writeTinyModel(join(home.path, "model"));
  return { ...home, hone: (...words) => start(words, cache) };
}

type Place = Awaited<ReturnType<typeof place>>;

function begun(at: Place, run_dir: string): Running {
  const model = JSON.stringify(join(at.path, "model"));
  return at.hone("run", PIPELINE, "--run-dir", run_dir, "--yes", "--set", `model=${model}`);
}

/** What a run did: all that sampling, judging and training made of finished groups, without times and ids of the machine. */
async function record(run_dir: string) {
  const adapter = await readFile(join(run_dir, "adapter/adapter_model.safetensors"));
  return {
    turns: await rows(
      run_dir,
      `SELECT r.purpose, r.policy_version, r.step, r.scenario_id, r.try, turn, output_ids, logprobs
       FROM turns JOIN rollouts r USING (rollout_id) JOIN rewards USING (rollout_id) ORDER BY ALL`,
    ),
    rewards: await rows(
      run_dir,
      `SELECT r.purpose, r.policy_version, r.step, r.scenario_id, r.try, value
       FROM rewards JOIN rollouts r USING (rollout_id) ORDER BY ALL`,
    ),
    steps: await rows(
      run_dir,
      `SELECT kind, step, loss, metrics->>'grad_norm' AS grad_norm, metrics->>'entropy' AS entropy,
         metrics->>'mismatch_abs' AS mismatch FROM train_steps ORDER BY optimizer_step`,
    ),
    adapter: createHash("sha256").update(adapter).digest("hex"),
  };
}

async function killed(running: Running, run_dir: string, sql: string): Promise<Ended> {
  await until(running, run_dir, sql);
  running.kill("SIGKILL");
  const ended = await running.ended;
  assert.deepEqual(await leftovers(run_dir), [], "no child process stays");
  return ended;
}

Deno.test("a run with trainer/lightning that was killed twice in a step ends as one that was not", async () => {
  await using at = await place();
  const [whole, broken] = [join(at.path, "whole"), join(at.path, "broken")];
  const { code, err } = await begun(at, whole).ended;
  assert.equal(code, 0, err);
  const expected = await record(whole);
  assert.deepEqual(expected.steps.map(({ kind, step }) => [kind, Number(step)]), [["supervised", 1], ["rl", 1], [
    "rl",
    2,
  ]]);
  for (const { loss, mismatch, kind } of expected.steps) {
    assert.ok(Number.isFinite(loss), String(loss));
    if (kind === "rl") assert.ok(Number(mismatch) < 1e-4, String(mismatch));
  }
  // In the rollouts of the second step, then in its update.
  const rollouts = "SELECT 1 FROM turns JOIN rollout_requests USING (rollout_id) WHERE purpose = 'train' AND step = 2";
  const update = "SELECT 1 FROM events WHERE type = 'batch.ready' AND (payload->>'step') = '3'";
  await killed(begun(at, broken), broken, rollouts);
  await killed(at.hone("resume", broken, "--yes"), broken, update);
  const resumed = await at.hone("resume", broken, "--yes").ended;
  assert.equal(resumed.code, 0, resumed.err);
  assert.deepEqual(await record(broken), expected);
});
