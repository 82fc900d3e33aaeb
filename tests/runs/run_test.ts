/** A whole run through the command line: what it records, what it says, what it leaves in its folder. @module */
import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { EventMap } from "../../pipeline/events.ts";
import { leftovers } from "./processes.ts";
import { assertWhole, folder, record, rows, startRun } from "./hone_process.ts";

Deno.test("hone run leaves verdict, reports, records and log when it is done", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const { code, out, err } = await startRun(run_dir).ended;
  assert.equal(code, 0, err);
  assert.deepEqual(await leftovers(run_dir), []);
  await assertWhole(run_dir);
  const verdict: VerdictFile = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.equal(out.split("\n")[0], verdict.sentence);
  assertVerdict(verdict);
  assert.deepEqual((await readdir(run_dir)).sort(), [
    "batches",
    "checkpoints",
    "pipeline.yaml",
    "report.html",
    "report.md",
    "run.duckdb",
    "run.json",
    "run.log",
    "verdict.json",
  ]);
  assert.match(await readFile(join(run_dir, "report.html"), "utf8"), /^<!doctype html>[\s\S]*<svg[\s\S]*<\/html>\s*$/i);
  assert.ok((await readFile(join(run_dir, "report.md"), "utf8")).includes(verdict.sentence));
  assert.match(await readFile(join(run_dir, "run.log"), "utf8"), /^\d{4}-.*Z info +2 tools, scenarios: 4 train/m);
  assert.match(
    await readFile(join(run_dir, "run.log"), "utf8"),
    / base on heldout, greedy: 0 of 2 \(0\.00 to 0\.78\), 0 could not be judged, \d+\.\d s\n/,
  );
  await assertCounts(run_dir);
  const ended = (await record(run_dir)).at(-1)!;
  assert.equal(ended.type, "run.ended");
  const [run] = await rows(run_dir, "SELECT name, seed, starts, status, sentence FROM runs");
  assert.deepEqual(run, { name: "scripted", seed: 7, starts: 1, status: "completed", sentence: verdict.sentence });
  assert.equal((await stat(join(run_dir, "run.duckdb"))).isFile(), true);
});

interface VerdictFile {
  sentence: string;
  policies: Record<string, Record<string, unknown>>;
  comparisons: Record<string, unknown>[];
  difference: Record<string, number>;
}

function assertVerdict({ policies, comparisons, difference }: VerdictFile) {
  for (const policy of Object.values(policies)) {
    assert.deepEqual(Object.keys(policy.success as object), ["mean", "low", "high", "n"]);
    for (const name of ["turns", "tool_calls", "invalid_calls", "tokens", "seconds"]) {
      assert.equal(typeof policy[name], "number", name);
    }
  }
  assert.deepEqual((policies.base!.success as { mean: number }).mean, 0);
  assert.deepEqual((policies.tuned!.success as { mean: number }).mean, 1);
  for (const one of comparisons) {
    assert.deepEqual(Object.keys(one), ["policy", "against", "metric", "mean", "low", "high", "n", "scenarios"]);
  }
  const pairs = new Set(comparisons.map(({ policy, against }) => `${policy} ${against}`));
  assert.deepEqual([...pairs].sort(), ["tuned base", "tuned warm_start", "warm_start base"]);
  assert.equal(difference.mean, 1);
  assert.ok(difference.low! < difference.mean! && difference.high! <= 1);
}

/** 3 evaluations of 2 scenarios, 4 replays, 3 steps of 2 groups of 4: everything once, nothing missing. */
async function assertCounts(run_dir: string) {
  const purposes = await rows(
    run_dir,
    "SELECT purpose, policy, count(*) AS n FROM rollouts WHERE outcome = 'answered' GROUP BY ALL ORDER BY ALL",
  );
  assert.deepEqual(purposes.map(({ purpose, policy, n }) => `${purpose} ${policy} ${n}`), [
    "demonstration base 4",
    "evaluation base 2",
    "evaluation tuned 2",
    "evaluation warm_start 2",
    "train step-1 8",
    "train step-2 8",
    "train warm_start 8",
  ]);
  const count = async (what: string) => Number((await rows(run_dir, `SELECT count(*) AS n FROM ${what}`))[0]!.n);
  const expected = {
    scenarios: 6,
    tools: 2,
    servers: 1,
    rollouts: 34,
    groups: 16,
    turns: 68,
    tool_calls: 34,
    observations: 34,
    judgements: 34,
    rewards: 34,
    train_steps: 5,
    evaluations: 3,
    run_starts: 1,
    run_ends: 1,
  };
  for (const [table, wanted] of Object.entries(expected)) assert.equal(await count(table), wanted, table);
  const [start] = await rows(run_dir, "SELECT machine FROM run_starts");
  assert.deepEqual(Object.keys(JSON.parse(String(start!.machine))), ["cpu", "cores", "memory_bytes", "os"]);
  const types = await rows(run_dir, "SELECT type, count(*) AS n FROM events GROUP BY ALL");
  const events = new Map(types.map(({ type, n }) => [type as keyof EventMap, Number(n)]));
  assert.equal(events.get("turn.completed"), 68);
  assert.equal(events.get("rollout.completed"), 34);
  const tokenless = `turns JOIN rollout_requests USING (rollout_id) WHERE purpose <> 'demonstration' AND
    (prompt_suffix IS NULL OR output_ids IS NULL OR len(logprobs) <> len(output_ids))`;
  assert.equal(await count(tokenless), 0);
}
