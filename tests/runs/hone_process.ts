/**
 * The command line as a process of its own on the scripted pipeline (`tests/fixtures/scripted`): start it, wait for a
 * moment in its records, signal it, and check that what it left is whole.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openRun } from "../../pipeline/store/live_run.ts";
import type { Row } from "../../pipeline/store/store.ts";

/** Repository root. */
export const ROOT = join(import.meta.dirname!, "../..");
/** The scripted pipeline. */
export const SCRIPTED = join(ROOT, "tests/fixtures/scripted/pipeline.yaml");

const CACHE = join(tmpdir(), "hone-tests-cache");

/** What a finished process said. */
export interface Ended {
  /** Exit code, or the signal that ended it. */
  code: number | Deno.Signal;
  out: string;
  err: string;
}

/** A running command line. */
export interface Running {
  pid: number;
  kill(signal: Deno.Signal): void;
  live(): boolean;
  /** What it has written to stdout so far. */
  said(): string;
  ended: Promise<Ended>;
}

/** Starts `hone <words>` in a process group of its own; consent is remembered in a folder of the tests. */
export function start(words: string[], cache: string = CACHE): Running {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--frozen", "-A", join(ROOT, "mod.ts"), ...words],
    cwd: ROOT,
    env: { NO_COLOR: "1", HONE_CACHE_DIR: cache },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  let live = true;
  let out = "";
  const read = async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) out += text;
  };
  const finish = async () => {
    const [{ code, signal }, err] = await Promise.all([child.status, new Response(child.stderr).text(), read()]);
    live = false;
    return { code: signal ?? code, out, err };
  };
  return {
    pid: child.pid,
    kill: (signal) => child.kill(signal),
    live: () => live,
    said: () => out,
    ended: finish(),
  };
}

/** Runs `hone <words>` to its end. */
export function hone(...words: string[]): Promise<Ended> {
  return start(words).ended;
}

/** `--set` words that replace values of a pipeline. */
export function settings(values: Record<string, unknown>): string[] {
  return Object.entries(values).flatMap(([path, value]) => ["--set", `${path}=${JSON.stringify(value)}`]);
}

/** Starts the scripted pipeline (or `pipeline`) in `run_dir`. */
export function startRun(run_dir: string, values: Record<string, unknown> = {}, pipeline = SCRIPTED): Running {
  return start(["run", pipeline, "--run-dir", run_dir, "--yes", ...settings(values)]);
}

/** The messages in what a run said on stderr: progress and the list of programs left out. */
export function messages(err: string, run_dir: string): string {
  const told = /^(\d+:\d\d .*|.* starts these programs on this machine:| {2}\(paths are .*| {2}(files|plugin): .*)\n/gm;
  return err.replace(told, "").replaceAll(relative(ROOT, run_dir), "{dir}").replaceAll(run_dir, "{dir}");
}

/** A folder that is deleted at the end of the scope. */
export async function folder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "hone-runner-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Rows of a query on a run, live or ended. */
export async function rows(run_dir: string, sql: string): Promise<Row[]> {
  await using run = await openRun(run_dir);
  return await run.query(sql);
}

/** Waits until a live run's records answer the query with at least one row. */
export async function until(running: Running, run_dir: string, sql: string): Promise<void> {
  for (;;) {
    const found = await rows(run_dir, sql).catch((error) => {
      if (error.code === "QUERY_FAILED") throw error;
      return [];
    });
    if (found.length > 0) return;
    if (!running.live()) throw new Error(`the run ended before ${sql}:\n${(await running.ended).err}`);
    await sleep(40);
  }
}

/** Moments of a run: a query that has rows as soon as the run is in the middle of that rung, and settings to hit it. */
export const MOMENTS: Record<string, { sql: string; slow: Record<string, number> }> = {
  "base evaluation": {
    sql: "SELECT 1 FROM turns JOIN rollout_requests USING (rollout_id) WHERE purpose = 'evaluation'",
    slow: { "stages.scripted.with.turn_secs": 0.8 },
  },
  "warm start": {
    sql: "SELECT 1 FROM events WHERE type = 'batch.ready' AND (payload->>'step') = '2'",
    slow: { "stages.scripted.with.step_secs": 2 },
  },
  "RL rollouts": {
    sql: "SELECT 1 FROM turns JOIN rollout_requests USING (rollout_id) WHERE purpose = 'train' AND step = 2",
    slow: { "stages.scripted.with.turn_secs": 0.8 },
  },
  "RL step": {
    sql: "SELECT 1 FROM events WHERE type = 'batch.ready' AND (payload->>'step') = '3'",
    slow: { "stages.scripted.with.step_secs": 2 },
  },
  "final evaluation": {
    sql: "SELECT 1 FROM turns JOIN rollout_requests USING (rollout_id) WHERE policy = 'tuned'",
    slow: { "stages.scripted.with.turn_secs": 0.8 },
  },
};

/** Every event that the run has on disk so far. */
export function record(run_dir: string): Promise<Row[]> {
  return rows(run_dir, "SELECT seq, type, ref, payload FROM events ORDER BY seq");
}

/** Fails unless `after` begins with all of `before`, and the finished run lost, repeated and left open nothing. */
export async function assertWhole(run_dir: string, before: Row[] = [], steps = 5) {
  const after = await record(run_dir);
  assert.deepEqual(after.slice(0, before.length), before, "records seen before are still there");
  assert.deepEqual(after.map(({ seq }) => seq), after.map((_, index) => index + 1), "seq has no gap");
  const column = async (sql: string) => (await rows(run_dir, sql)).map((row) => Object.values(row)[0]);
  const twice = "SELECT rollout_id FROM rollout_ends GROUP BY ALL HAVING count(*) > 1";
  assert.deepEqual(await column(twice), [], "no rollout closed twice");
  assert.deepEqual(await column("SELECT rollout_id FROM rollouts WHERE abandoned = 'unfinished'"), []);
  assert.deepEqual(
    await column("SELECT optimizer_step FROM train_steps ORDER BY seq"),
    Array.from({ length: steps }, (_, i) => i + 1),
  );
  const measured = "SELECT policy FROM evaluations WHERE split = 'heldout' ORDER BY seq";
  assert.deepEqual(await column(measured), ["base", "warm_start", "tuned"]);
  const turnless = `SELECT rollout_id FROM rollouts LEFT JOIN turns USING (rollout_id)
    WHERE rollouts.abandoned IS NULL AND outcome = 'answered' GROUP BY rollout_id
    HAVING count(turns.turn) < 2 OR count(turns.turn) <> max(turns.turn) + 1`;
  assert.deepEqual(await column(turnless), [], "no turn of a finished rollout lost, none twice");
  const unpaid =
    "SELECT id FROM (SELECT unnest(rollout_ids) AS id FROM groups) WHERE id NOT IN (SELECT rollout_id FROM rewards)";
  assert.deepEqual(await column(unpaid), [], "every rollout of a finished group has its reward");
  const verdict = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.deepEqual(Object.keys(verdict.policies), ["base", "warm_start", "tuned"]);
  for (const { success } of Object.values<{ success: { n: number } }>(verdict.policies)) assert.equal(success.n, 2);
  assert.deepEqual((await rows(run_dir, "SELECT status FROM runs"))[0], { status: "completed" });
}

/** Registers one test whose cases run side by side, each as a step. */
export function together<T>(
  name: string,
  cases: readonly T[],
  title: (one: T) => string,
  body: (one: T) => Promise<void>,
) {
  Deno.test(name, async (t) => {
    const free = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };
    await Promise.all(cases.map((one) => t.step({ name: title(one), fn: () => body(one), ...free })));
  });
}
