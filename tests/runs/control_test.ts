/** A live run as other processes see it: queried, watched, paused, cancelled, and alone in its folder. @module */
import assert from "node:assert/strict";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openRun } from "../../pipeline/store/live_run.ts";
import { Store } from "../../pipeline/store/store.ts";
import { SCHEMA_VERSION } from "../../pipeline/store/tables.ts";
import { leftovers } from "./processes.ts";
import {
  assertWhole,
  folder,
  hone,
  messages,
  MOMENTS,
  record,
  ROOT,
  start,
  startRun,
  together,
  until,
} from "./hone_process.ts";

const { sql, slow } = MOMENTS["RL rollouts"]!;

together("pause and cancel end a live run so that it can go on", ["pause", "cancel"] as const, String, async (verb) => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const running = startRun(run_dir, slow);
  await until(running, run_dir, sql);
  const watching = watched(run_dir);
  const before = await record(run_dir);
  const asked = await hone(verb, run_dir);
  const first = await running.ended;
  const status = { pause: "paused", cancel: "cancelled" }[verb];
  assert.deepEqual([asked.code, asked.out], [0, `${status}: \`hone resume ${run_dir}\` continues the run\n`]);
  assert.deepEqual([first.code, first.out], [{ pause: 3, cancel: 130 }[verb], ""]);
  assert.ok(first.err.endsWith(`${status}: \`hone resume ${relative(ROOT, run_dir)}\` continues the run\n`), first.err);
  assert.deepEqual(await leftovers(run_dir), []);
  assert.equal((await watching).at(-1), "run.ended");
  const again = await hone(verb, run_dir);
  assert.deepEqual([again.code, again.err], [
    2,
    `error[RUN_NOT_LIVE] Cannot reach the run in "${run_dir}": no process is using it\n` +
    "  hint: `hone resume` continues it.\n",
  ]);
  const second = await hone("resume", run_dir);
  assert.equal(second.code, 0, second.err);
  await assertWhole(run_dir, before);
});

Deno.test("a watcher that is stopped says that the run goes on, and the run does", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const { sql, slow } = MOMENTS["base evaluation"]!;
  const running = startRun(run_dir, slow);
  await until(running, run_dir, sql);
  const watching = start(["watch", run_dir, "--only", "turn."]);
  while (watching.live() && watching.said() === "") await sleep(40);
  watching.kill("SIGINT");
  const { code, err } = await watching.ended;
  assert.deepEqual([code, err], [0, "stopped watching: the run goes on\n"]);
  assert.ok(running.live());
  assert.equal((await running.ended).code, 0);
});

async function watched(run_dir: string): Promise<string[]> {
  await using run = await openRun(run_dir);
  const types: string[] = [];
  for await (const { type } of run.watch()) types.push(type);
  return types;
}

Deno.test("hone run and resume refuse a folder that another process works in", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const running = startRun(run_dir, slow);
  await until(running, run_dir, "SELECT 1 FROM turns");
  const [resume, run, query] = await Promise.all([
    hone("resume", run_dir),
    startRun(run_dir).ended,
    hone("query", run_dir, "SELECT count(*) AS n FROM scenarios", "--format", "json"),
  ]);
  running.kill("SIGKILL");
  await running.ended;
  const locked = `error[RUN_LOCKED] Cannot run in "{dir}": process ${running.pid} is using this run\n` +
    "  hint: Wait for it, stop it (`hone cancel`), or choose another folder (`--run-dir`).\n";
  assert.deepEqual([resume.code, messages(resume.err, run_dir)], [2, locked]);
  assert.deepEqual([run.code, run.err], [
    2,
    `error[RUN_EXISTS] Cannot start a run in "${run_dir}": a run already exists there\n` +
    "  hint: `hone resume` continues it; another --run-dir starts a new one.\n",
  ]);
  assert.deepEqual([query.code, query.out], [0, '[{"n":6}]\n']);
});

Deno.test("hone refuses the run folder of a newer version", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const running = startRun(run_dir, slow);
  await until(running, run_dir, "SELECT 1 FROM turns");
  running.kill("SIGINT");
  await running.ended;
  const path = join(run_dir, "run.duckdb");
  {
    await using store = await Store.open(path, { run_id: "run", mode: "resume" });
    await store.query("UPDATE meta SET schema_version = 99");
  }
  for (const words of [["resume", run_dir], ["query", run_dir, "SELECT 1"], ["report", run_dir]]) {
    const { code, err } = await hone(...words);
    assert.deepEqual([code, messages(err, run_dir)], [
      2,
      `error[RUN_NEWER] Cannot read "{dir}/run.duckdb": it was written by a newer version of hone (schema 99, this version supports ${SCHEMA_VERSION})\n` +
      "  hint: Update hone, or start a new run.\n",
    ]);
  }
});
