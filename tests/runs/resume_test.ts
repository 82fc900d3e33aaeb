/** A run that was interrupted or killed in the middle of any rung goes on and loses nothing it had recorded. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { leftovers } from "./processes.ts";
import { assertWhole, folder, hone, MOMENTS, record, startRun, together, until } from "./hone_process.ts";

async function stopped(signal: "SIGINT" | "SIGKILL", moment: string, max_staleness: number) {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const { sql, slow } = MOMENTS[moment]!;
  const running = startRun(run_dir, { ...slow, "train.max_staleness": max_staleness });
  await until(running, run_dir, sql);
  const before = await record(run_dir);
  running.kill(signal);
  const first = await running.ended;
  assert.deepEqual(await leftovers(run_dir), [], "no child process stays");
  if (signal === "SIGINT") {
    assert.equal(first.code, 130, first.err);
    assert.match(first.err, /\ninterrupted: `hone resume .*` continues the run\n$/);
    assert.equal((await record(run_dir)).at(-1)!.type, "run.ended");
  }
  const second = await hone("resume", run_dir);
  assert.equal(second.code, 0, second.err);
  await assertWhole(run_dir, before);
}

together(
  "resume loses nothing when the run was stopped in the middle of a rung",
  [
    ...Object.keys(MOMENTS).map((moment) => ["SIGINT", moment, 0] as const),
    ...["base evaluation", "RL rollouts", "RL step"].map((moment) => ["SIGKILL", moment, 0] as const),
    ...(["SIGINT", "SIGKILL"] as const).flatMap((signal) =>
      ["RL rollouts", "RL step"].map((moment) => [signal, moment, 1] as const)
    ),
  ],
  ([signal, moment, staleness]) => `${signal} in the ${moment}, staleness ${staleness}`,
  ([signal, moment, staleness]) => stopped(signal, moment, staleness),
);
