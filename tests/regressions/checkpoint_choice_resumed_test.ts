/**
 * A resumed run forgot which checkpoint validation had liked best, deleted it, and shipped the last one; it also
 * skipped a validation that the stop had cut short, and went on training after `tuned` was published.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { assertWhole, folder, hone, record, rows, startRun, together, until } from "../runs/hone_process.ts";
import { chosenCheckpoint, VALIDATED, withValidation } from "../runs/validation.ts";

const MOMENTS = {
  "before the second step": "FROM policies WHERE policy = 'step-1'",
  "in the second validation":
    "FROM turns JOIN rollout_requests USING (rollout_id) WHERE policy = 'step-2' AND split = 'validation'",
  "in the final evaluation": "FROM turns JOIN rollout_requests USING (rollout_id) WHERE policy = 'tuned'",
};

together("resume keeps what validation chose", Object.entries(MOMENTS), ([name]) => name, async ([, from]) => {
  await using dir = await folder();
  const pipeline = await withValidation(dir.path);
  const run_dir = join(dir.path, "run");
  const running = startRun(run_dir, { ...VALIDATED, "stages.scripted.with.turn_secs": 0.25 }, pipeline);
  await until(running, run_dir, `SELECT 1 ${from}`);
  const before = await record(run_dir);
  running.kill("SIGKILL");
  await running.ended;
  const { code, err } = await hone("resume", run_dir);
  assert.equal(code, 0, err);
  await assertWhole(run_dir, before);
  const validated = await rows(run_dir, "SELECT policy FROM evaluations WHERE split = 'validation' ORDER BY policy");
  assert.deepEqual(validated.map(({ policy }) => policy), ["step-1", "step-2", "step-3"]);
  const chosen = await chosenCheckpoint(run_dir);
  assert.equal(chosen.tuned, chosen.best);
  assert.ok(existsSync(join(run_dir, "checkpoints", String(chosen.tuned))));
});
