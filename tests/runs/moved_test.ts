/** A run's folder can be moved, copied and archived, alone or together with its project, and goes on from there. @module */
import assert from "node:assert/strict";
import { cp, link, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { checkpointDir } from "../../pipeline/store/run_folder.ts";
import { oldRun } from "../fixtures/old_run.ts";
import {
  assertWhole,
  folder,
  hone,
  MOMENTS,
  record,
  rows,
  SCRIPTED,
  startRun,
  together,
  until,
} from "./hone_process.ts";

/** Moments whose resume reads a checkpoint. */
const WITH_CHECKPOINTS = ["RL rollouts", "RL step", "final evaluation"];

/** A run of the scripted pipeline that was killed. */
async function killed(run_dir: string, moment: string, pipeline = SCRIPTED): Promise<void> {
  const { sql, slow } = MOMENTS[moment]!;
  const running = startRun(run_dir, slow, pipeline);
  await until(running, run_dir, sql);
  running.kill("SIGKILL");
  await running.ended;
}

/** Makes every checkpoint of a run unusable: a run that reads one fails. */
async function spoil(run_dir: string): Promise<void> {
  const checkpoints = join(run_dir, "checkpoints");
  for (const name of await readdir(checkpoints)) await writeFile(join(checkpoints, name, "state.json"), "spoiled");
}

/** Every file below a folder, with its content. */
async function contents(dir: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found[path] = (await readFile(path)).toString("base64");
  }
  return found;
}

async function resumed(run_dir: string, before: Awaited<ReturnType<typeof record>>): Promise<void> {
  const { code, err } = await hone("resume", run_dir, "--yes");
  assert.equal(code, 0, err);
  await assertWhole(run_dir, before);
}

/** No record of the run names the folder. */
async function assertUnnamed(run_dir: string, named: string): Promise<void> {
  const columns = await rows(
    run_dir,
    `SELECT table_name AS t, column_name AS c FROM duckdb_columns()
     WHERE NOT internal AND data_type IN ('VARCHAR', 'JSON') AND table_name NOT IN ('turns', 'tool_calls', 'observations')`,
  );
  for (const { t, c } of columns) {
    const found = await rows(run_dir, `SELECT "${c}" AS cell FROM "${t}" WHERE contains("${c}"::VARCHAR, '${named}')`);
    assert.deepEqual(found, [], `${t}.${c} names the folder`);
  }
}

together("a run that was moved goes on", WITH_CHECKPOINTS, String, async (moment) => {
  await using dir = await folder();
  const [from, to] = [join(dir.path, "first"), join(dir.path, "elsewhere/second")];
  await killed(from, moment);
  const before = await record(from);
  await mkdir(dirname(to));
  await rename(from, to);
  await resumed(to, before);
  assert.deepEqual(await rows(to, "SELECT run_id, starts FROM runs"), [{ run_id: "first", starts: 2 }]);
  assert.deepEqual(await rows(to, "SELECT DISTINCT run_id FROM run_ends"), [{ run_id: "first" }]);
  assert.equal(JSON.parse(await readFile(join(to, "verdict.json"), "utf8")).run_id, "first");
  assert.equal(JSON.parse(await readFile(join(to, "run.json"), "utf8")).run_id, "first");
  await assertUnnamed(to, from);
  assert.deepEqual(await readdir(dirname(from)), ["elsewhere"]);
});

together("a copy goes on without the original, and leaves it alone", WITH_CHECKPOINTS, String, async (moment) => {
  await using dir = await folder();
  const [original, copy] = [join(dir.path, "original"), join(dir.path, "copy")];
  await killed(original, moment);
  const before = await record(original);
  await cp(original, copy, { recursive: true });
  await spoil(original);
  const as_it_was = await contents(original);
  await resumed(copy, before);
  assert.deepEqual(await contents(original), as_it_was);
});

Deno.test("a run that was archived goes on where it is unpacked", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "runs/archived");
  await mkdir(dirname(run_dir));
  await killed(run_dir, "RL step");
  const before = await record(run_dir);
  const tar = (...args: string[]) => new Deno.Command("tar", { args }).output();
  await tar("-C", dirname(run_dir), "-czf", join(dir.path, "run.tgz"), basename(run_dir));
  await rm(run_dir, { recursive: true });
  const place = join(dir.path, "unpacked");
  await mkdir(place);
  assert.ok((await tar("-C", place, "-xzf", join(dir.path, "run.tgz"))).success);
  await resumed(join(place, "archived"), before);
});

Deno.test("a run moved together with its project reads the project's files there", async () => {
  await using dir = await folder();
  const [from, to] = [join(dir.path, "project"), join(dir.path, "moved")];
  await cp(dirname(SCRIPTED), from, { recursive: true });
  await killed(join(from, "runs/one"), "RL step", join(from, "pipeline.yaml"));
  const before = await record(join(from, "runs/one"));
  // A copy, of a project that is still there.
  await cp(from, to, { recursive: true });
  await writeFile(join(from, "scenarios.yaml"), "[]");
  await resumed(join(to, "runs/one"), before);
});

Deno.test("a run moved to another project reads the files of its own", async () => {
  await using dir = await folder();
  const [own, other] = [join(dir.path, "own"), join(dir.path, "other")];
  await cp(dirname(SCRIPTED), own, { recursive: true });
  await killed(join(own, "runs/one"), "RL step", join(own, "pipeline.yaml"));
  const before = await record(join(own, "runs/one"));
  await mkdir(join(other, "runs"), { recursive: true });
  await writeFile(join(other, "pipeline.yaml"), "name: other\n");
  await rename(join(own, "runs/one"), join(other, "runs/one"));
  await resumed(join(other, "runs/one"), before);
});

Deno.test("a run of an earlier version goes on after it was moved, with its own checkpoints", async () => {
  await using dir = await folder();
  const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
  await oldRun("interrupted", from);
  await cp(from, to, { recursive: true });
  const before = await record(to);
  await spoil(from);
  await resumed(to, before);
  assert.deepEqual(await rows(to, "SELECT checkpoint FROM policies WHERE contains(checkpoint, '/')"), []);
});

Deno.test("an evaluation records the weights of a run relative to itself", async () => {
  await using dir = await folder();
  const runs = join(dir.path, "runs");
  await mkdir(runs);
  assert.equal((await startRun(join(runs, "one")).ended).code, 0);
  const { code, err } = await hone("evaluate", join(runs, "one"), "--yes");
  assert.equal(code, 0, err);
  const [id] = await readdir(join(runs, "evaluations"));
  const evaluation = join(runs, "evaluations", id!);
  const [{ checkpoint } = {}] = await rows(evaluation, "SELECT checkpoint FROM policies WHERE policy = 'tuned'");
  assert.match(String(checkpoint), /^\.\.\/\.\.\/one\/checkpoints\/rl-\d+$/);
  assert.equal(
    checkpointDir(evaluation, String(checkpoint)),
    join(runs, "one/checkpoints", basename(String(checkpoint))),
  );
  await assertUnnamed(evaluation, runs);
});

Deno.test("resume replaces pipeline.yaml, and does not write into it", async () => {
  await using dir = await folder();
  const [run_dir, linked] = [join(dir.path, "run"), join(dir.path, "linked.yaml")];
  await killed(run_dir, "base evaluation");
  const pipeline = join(run_dir, "pipeline.yaml");
  await writeFile(pipeline, (await readFile(pipeline, "utf8")) + "\n# a remark\n");
  await link(pipeline, linked);
  const before = await readFile(linked, "utf8");
  await resumed(run_dir, await record(run_dir));
  assert.equal(await readFile(linked, "utf8"), before);
  assert.notEqual(await readFile(pipeline, "utf8"), before);
});

Deno.test("a run's folder is readable by its owner only", { ignore: Deno.build.os === "windows" }, async () => {
  await using dir = await folder();
  const made = join(dir.path, "runs/made");
  const given = join(dir.path, "given");
  await mkdir(given, { mode: 0o755 });
  for (const run_dir of [made, given]) {
    await killed(run_dir, "base evaluation");
    assert.equal((await stat(run_dir)).mode & 0o777, 0o700);
  }
});
