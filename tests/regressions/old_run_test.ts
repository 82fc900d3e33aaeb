/** Runs that an earlier revision stored can be queried, reported, evaluated and finished. @module */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { oldRun } from "../fixtures/old_run.ts";
import { assertWhole, folder, hone, record } from "../runs/hone_process.ts";

async function ok(...words: string[]): Promise<string> {
  const { code, out, err } = await hone(...words);
  assert.equal(code, 0, err);
  return out;
}

Deno.test("a run of before can be queried and reported", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  await oldRun("finished", run_dir);
  const sql =
    "SELECT policy, count(*) AS n FROM rollouts JOIN rewards USING (rollout_id) WHERE success GROUP BY ALL ORDER BY ALL";
  assert.deepEqual(JSON.parse(await ok("query", run_dir, sql, "--format", "json")), [
    { policy: "base", n: 4 },
    { policy: "step-1", n: 8 },
    { policy: "step-2", n: 5 },
    { policy: "tuned", n: 2 },
    { policy: "warm_start", n: 6 },
  ]);
  await ok("report", run_dir);
  const { sentence, policies } = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.match(sentence, /^Too few scenarios for a claim: tuned solves 2 of 2 held-out scenarios, base 0\./);
  assert.equal(policies.tuned.success.mean, 1);
});

Deno.test("a run of before can be evaluated with the checkpoint that it published", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  await oldRun("finished", run_dir);
  const out = await ok("evaluate", run_dir, "--policy", "tuned", "--yes", "--format", "json");
  const { policy, success, differences } = JSON.parse(out);
  assert.deepEqual([policy, success.mean], ["tuned", 1]);
  assert.deepEqual(differences.map(({ against, mean }: Record<string, unknown>) => [against, mean]), [
    ["base", 1],
    ["tuned", 0],
    ["warm_start", 0],
  ]);
});

Deno.test("a run of before that was interrupted goes on, and keeps what it had", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "int");
  await oldRun("interrupted", run_dir);
  const before = await record(run_dir);
  await ok("resume", run_dir);
  await assertWhole(run_dir, before);
});
