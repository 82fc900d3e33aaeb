/** A recording that is killed and resumed, and a training run on what it recorded. @module */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { readTape } from "../../pipeline/tape/reader.ts";
import { folder, hone, record, rows, SCRIPTED, settings, startRun, until } from "../runs/hone_process.ts";

Deno.test("a recording killed with SIGKILL has lost no call, is resumed, and is trained on without its server", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "recorded");
  const values = { tape: "record", "train.steps": 1, "stages.scripted.with.turn_secs": 0.2 };
  const running = startRun(run_dir, values);
  await until(running, run_dir, "SELECT 1 FROM tool_calls JOIN rollout_requests USING (rollout_id) WHERE step = 1");
  running.kill("SIGKILL");
  await running.ended;
  const tape = join(run_dir, "tape.jsonl");
  const taped = [...(await readTape(tape)).rollouts].flatMap(([name, { calls }]) =>
    calls.map(({ tool, arguments: given }) => `${name} ${tool} ${JSON.stringify(given)}`)
  );
  const acknowledged = await rows(run_dir, "SELECT rollout_id, tool, arguments::VARCHAR AS given FROM tool_calls");
  assert.ok(acknowledged.length > 8);
  for (const { rollout_id, tool, given } of acknowledged) {
    assert.ok(taped.includes(`${rollout_id} ${tool} ${given}`), `${rollout_id} is on the tape`);
  }
  assert.equal((await hone("resume", run_dir, "--yes")).code, 0);
  assert.ok(!(await readFile(tape, "utf8")).includes(dir.path));

  const replayed = join(dir.path, "replayed");
  const set = settings({ tape: { mode: "replay", path: run_dir }, "train.steps": 1 });
  const absent = settings({ "servers.files.command": "no-such-program" });
  const { code, err } = await hone("run", SCRIPTED, "--run-dir", replayed, ...set, ...absent);
  assert.equal(code, 0, err);
  assert.match(
    err,
    /Training on replayed tool results: the policy learns nothing about the server from calls that are not on the tape/,
  );
  const ends = "SELECT DISTINCT outcome FROM rollouts WHERE abandoned IS NULL";
  assert.deepEqual(await rows(replayed, ends), [{ outcome: "answered" }]);
  const rewards = `SELECT scenario_id, policy, step, try, value FROM rewards JOIN rollouts USING (rollout_id)
    WHERE abandoned IS NULL ORDER BY ALL`;
  assert.deepEqual(await rows(replayed, rewards), await rows(run_dir, rewards));
  assert.equal((await record(replayed)).at(-1)!.type, "run.ended");
  const refused = await hone("run", SCRIPTED, "--run-dir", join(dir.path, "no"), ...set, "--set", "tape.replies=true");
  assert.equal(refused.code, 2);
  assert.match(refused.err, /Cannot replay the model's replies in a run that trains \(ladder: warm_start, rl\)/);
});
