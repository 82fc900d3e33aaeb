/** What the settings of training do to a run: shuffled rewards, limits, validation. @module */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Store } from "../../pipeline/store/store.ts";
import { folder, hone, MOMENTS, rows, startRun, together, until } from "./hone_process.ts";
import { chosenCheckpoint, VALIDATED, withValidation } from "./validation.ts";

together(
  "train.shuffle_rewards permutes what a batch teaches and nothing else",
  [false, true],
  String,
  async (shuffle) => {
    await using dir = await folder();
    const run_dir = join(dir.path, "run");
    const { sql, slow } = MOMENTS["RL step"]!;
    const running = startRun(run_dir, { ...slow, "train.shuffle_rewards": shuffle });
    await until(running, run_dir, sql);
    const batch = (await readFile(join(run_dir, "batches", "rl-00003.jsonl"), "utf8")).trim().split("\n")
      .map((line): { rollout_id: string; group_id: string; advantage: number } => JSON.parse(line));
    const rewards = await rows(
      run_dir,
      "SELECT rollout_id, value - avg(value) OVER (PARTITION BY group_id) AS advantage FROM rewards",
    );
    running.kill("SIGKILL");
    await running.ended;
    const honest = new Map(rewards.map(({ rollout_id, advantage }) => [rollout_id, Number(advantage)]));
    assert.equal(batch.length, 8);
    const group = (id: string, of: (row: (typeof batch)[number]) => number) =>
      batch.filter(({ group_id }) => group_id === id).map((row) => of(row).toFixed(5)).sort();
    for (const id of new Set(batch.map(({ group_id }) => group_id))) {
      assert.deepEqual(group(id, ({ advantage }) => advantage), group(id, ({ rollout_id }) => honest.get(rollout_id)!));
    }
    const moved = batch.filter(({ rollout_id, advantage }) => Math.abs(honest.get(rollout_id)! - advantage) > 1e-5);
    assert.equal(moved.length > 0, shuffle);
  },
);

Deno.test("limits.wall_clock_secs stops RL early and still measures the tuned policy", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const values = { "limits.wall_clock_secs": 19, "train.steps": 500, "train.give_up_after": 0 };
  const { code, err } = await startRun(run_dir, values).ended;
  assert.equal(code, 0, err);
  const stop = /stopping after (\d+) of 500 steps: \d+ s left of limits\.wall_clock_secs/.exec(err);
  assert.ok(stop, err);
  const count = async (what: string) => Number((await rows(run_dir, `SELECT count(*) AS n FROM ${what}`))[0]!.n);
  assert.equal(await count("train_steps WHERE kind = 'rl'"), Number(stop[1]));
  assert.equal(await count("evaluations WHERE policy = 'tuned'"), 1);
});

Deno.test("limits.wall_clock_secs counts what earlier starts of a run took", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const { sql, slow } = MOMENTS["RL step"]!;
  const running = startRun(run_dir, {
    ...slow,
    "limits.wall_clock_secs": 3600,
    "train.steps": 500,
    "train.give_up_after": 0,
  });
  await until(running, run_dir, sql);
  running.kill("SIGKILL");
  await running.ended;
  const before = await rows(run_dir, "SELECT * FROM train_steps WHERE kind = 'rl'");
  {
    await using store = await Store.open(join(run_dir, "run.duckdb"), { run_id: "run", mode: "resume" });
    await store.query("UPDATE events SET recorded_at = recorded_at - INTERVAL 1 HOUR WHERE type = 'run.started'");
  }
  const { code, err } = await hone("resume", run_dir);
  assert.equal(code, 0, err);
  const stop = `stopping after ${before.length} of 500 steps: 0 s left of limits.wall_clock_secs`;
  assert.ok(err.includes(stop), err);
  assert.equal((await rows(run_dir, "SELECT * FROM evaluations WHERE policy = 'tuned'")).length, 1);
});

Deno.test("train.validate_every ships the checkpoint that validation likes best", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const { code, err } = await startRun(run_dir, VALIDATED, await withValidation(dir.path)).ended;
  assert.equal(code, 0, err);
  const { tuned, best, last } = await chosenCheckpoint(run_dir);
  assert.equal(tuned, best);
  assert.notEqual(best, last);
});

together(
  "train.max_staleness lets rollouts run beside the step before theirs, and says how stale each step was",
  [0, 1],
  String,
  async (max_staleness) => {
    await using dir = await folder();
    const run_dir = join(dir.path, "run");
    const slow = { "stages.scripted.with.step_secs": 0.5 };
    const { code, err } = await startRun(run_dir, { ...slow, "train.max_staleness": max_staleness }).ended;
    assert.equal(code, 0, err);
    const steps = await rows(run_dir, "SELECT staleness FROM train_steps WHERE kind = 'rl' ORDER BY step");
    assert.deepEqual(steps.map(({ staleness }) => staleness), [0, max_staleness, max_staleness]);
    // Rollouts that the policy of the step before theirs could have sampled, had they waited for it.
    const [ahead] = await rows(
      run_dir,
      `SELECT count(*) AS n FROM rollouts JOIN policies ON policies.policy = 'step-' || (rollouts.step - 1)
       WHERE purpose = 'train' AND rollouts.policy_version < policies.policy_version`,
    );
    assert.equal(Number(ahead!.n), max_staleness * 2 * 8);
  },
);
