import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { openRun } from "../../pipeline/store/live_run.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import { runVerb } from "../fixtures/small_run.ts";
import run from "../../runners/verbs/run.ts";

const PIPELINE = resolve(import.meta.dirname!, "../fixtures/scripted/pipeline.yaml");

for (
  const [stage, use, end, invalid] of [
    ["weighted", "./throwing_shaper.ts", "answered", "reward shaper failed: no idea"],
    ["state", "./blind_judge.ts", "answered", "blind: nothing was seen"],
  ] as const
) {
  Deno.test(`a rollout is invalid, and the run goes on, when ${use} throws`, async () => {
    const home = await mkdtemp(join(tmpdir(), "hone-throws-"));
    try {
      const run_dir = join(home, "one");
      const args = { policy: "base", run_dir, set: [`stages.${stage}.use=${use}`], yes: true };
      // The run comes to its end, and says with 1 that nothing in it could be judged.
      assert.equal((await runVerb(evaluate, { positional: [PIPELINE], args })).code, 1);
      await using ended = await openRun(run_dir);
      const sql = "SELECT DISTINCT outcome, success, invalid FROM rollouts JOIN rewards USING (rollout_id)";
      assert.deepEqual(await ended.query(sql), [{ outcome: end, success: false, invalid }]);
    } finally {
      await rm(home, { recursive: true });
    }
  });
}

Deno.test("a tracker hears the run's events, in training and in evaluation alike", async () => {
  const home = await mkdtemp(join(tmpdir(), "hone-tracker-"));
  try {
    const to = join(home, "heard.json");
    const stages = [
      { use: "discoverer/mcp" },
      { use: "scenario-source/file", with: { path: "./scenarios.yaml" } },
      { use: "rollout/chat" },
      { use: "judge/state" },
      { use: "reward-shaper/weighted" },
      { id: "scripted", use: "./trainer.ts" },
      { use: "./tracker.ts", with: { to } },
    ];
    const run_dir = join(home, "one");
    const set = ["train.steps=1", `stages=${JSON.stringify(stages)}`];
    assert.equal((await runVerb(run, { positional: [PIPELINE], args: { run_dir, set, yes: true } })).code, 0);
    const trained = JSON.parse(await readFile(to, "utf8"));
    await using ended = await openRun(run_dir);
    const [{ steps }] = await ended.query("SELECT count(*) AS steps FROM train_steps") as [{ steps: number }];
    assert.equal(trained["train.stepped"], steps);
    const args = { policy: "base", run_dir: join(home, "two"), set: set.slice(1), yes: true };
    assert.equal((await runVerb(evaluate, { positional: [PIPELINE], args })).code, 0);
    const measured = JSON.parse(await readFile(to, "utf8"));
    assert.deepEqual([measured["rollout.completed"], measured["train.stepped"], measured["run.ended"]], [
      2,
      undefined,
      1,
    ]);
  } finally {
    await rm(home, { recursive: true });
  }
});
