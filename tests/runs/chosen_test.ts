import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Verdict } from "../../pipeline/verdict/verdict_types.ts";
import { folder, hone, rows, startRun } from "./hone_process.ts";
import { withValidation } from "./validation.ts";

async function verdictOf(run_dir: string): Promise<Verdict> {
  return JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
}

Deno.test("the verdict lists the validated checkpoints by sampling, the chosen one, the exported policy, costs and time to the target", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const values = {
    "train.validate_every": 1,
    "train.validate_sampling": ["greedy", "sampled"],
    "train.choose": "one_standard_error",
    "evaluate.target": 0.5,
  };
  const { code, err } = await startRun(run_dir, values, await withValidation(dir.path)).ended;
  assert.equal(code, 0, err);
  const { selection, export: exported, costs, time_to_target } = await verdictOf(run_dir);
  assert.equal(selection!.rule, "one_standard_error");
  assert.deepEqual(selection!.checkpoints.map(({ policy, step }) => [policy, step]), [
    ["step-1", 1],
    ["step-2", 2],
    ["step-3", 3],
  ]);
  for (const { success } of selection!.checkpoints) assert.deepEqual(Object.keys(success), ["greedy", "sampled"]);
  const chosen = selection!.checkpoints.filter(({ chosen }) => chosen);
  const [tuned] = await rows(run_dir, "SELECT checkpoint FROM policies WHERE policy = 'tuned'");
  assert.deepEqual(chosen.map(({ checkpoint }) => checkpoint), [tuned!.checkpoint]);
  for (const { checkpoint } of selection!.checkpoints) {
    assert.ok((await Deno.stat(join(run_dir, "checkpoints", checkpoint))).isDirectory, "kept, as it could be chosen");
  }
  assert.equal(exported!.policy, "tuned");
  const [spent] = await rows(run_dir, "SELECT count(*) AS n, sum(seconds) / 3600 AS hours FROM rollout_ends");
  assert.deepEqual([costs!.rollouts, costs!.llm.requests, costs!.llm.usd], [Number(spent!.n), 0, 0]);
  assert.equal(costs!.rollout_hours.toFixed(9), Number(spent!.hours).toFixed(9));
  const { target, reached } = time_to_target!;
  assert.equal(target, 0.5);
  assert.ok(reached!.success.mean >= 0.5 && reached!.seconds > 0, JSON.stringify(reached));
  assert.ok(reached!.rollouts > 0 && reached!.rollouts < costs!.rollouts, JSON.stringify(reached));
  // The regenerated verdict says the same.
  const before = await verdictOf(run_dir);
  const again = await hone("report", run_dir);
  assert.equal(again.code, 0, again.err);
  assert.deepEqual(await verdictOf(run_dir), before);
});

Deno.test("evaluate.export: best_on_validation exports the warm start where validation prefers it", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  // The two steps of the warm start leave a success rate of 0.7, and the first of RL none.
  const values = {
    "stages.scripted.with.start": 2.3,
    "stages.scripted.with.gain": -0.8,
    "evaluate.export": "best_on_validation",
    "evaluate.target": 0.5,
    "train.steps": 1,
  };
  const { code, err } = await startRun(run_dir, values, await withValidation(dir.path)).ended;
  assert.equal(code, 0, err);
  const { validation, export: exported, time_to_target } = await verdictOf(run_dir);
  const { warm_start, tuned } = validation!.policies;
  assert.ok(warm_start!.mean >= 0.5, String(warm_start!.mean));
  assert.equal(tuned!.mean, 0);
  assert.deepEqual(exported, {
    policy: "warm_start",
    reason: "its success on validation is higher than that of tuned (`evaluate.export`).",
  });
  assert.equal(time_to_target!.reached!.policy, "warm_start");
  const [made] = await rows(run_dir, "SELECT payload FROM events WHERE type = 'verdict.made'");
  const [warm] = await rows(run_dir, "SELECT checkpoint FROM policies WHERE policy = 'warm_start'");
  assert.equal(JSON.parse(String(made!.payload)).checkpoint, warm!.checkpoint);
});
