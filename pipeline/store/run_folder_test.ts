import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpointDir, deleteOwn, pruneCheckpoints, recordedPath, recordedWeights } from "./run_folder.ts";

async function inFolder(work: (dir: string) => Promise<void>) {
  const dir = await mkdtemp(join(tmpdir(), "hone-folder-"));
  try {
    await work(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** Makes folders with a file in each. */
async function folders(...paths: string[]) {
  for (const path of paths) {
    await mkdir(path, { recursive: true });
    await writeFile(join(path, "state"), "x");
  }
}

Deno.test("pruneCheckpoints() deletes the run's own checkpoints that are not needed, and nothing else", () =>
  inFolder(async (dir) => {
    const [run, other] = [join(dir, "run"), join(dir, "other")];
    const own = ["supervised-00004", "rl-00005", "rl-00006", "rl-100000"];
    await folders(
      ...[...own, "rl-best", "notes"].map((name) => join(run, "checkpoints", name)),
      join(other, "rl-00001"),
    );
    await symlink(join(other, "rl-00001"), join(run, "checkpoints/rl-00001"));
    await pruneCheckpoints(run, ["rl-00006", "supervised-00004", undefined]);
    assert.deepEqual((await readdir(join(run, "checkpoints"))).sort(), [
      "notes",
      "rl-00001",
      "rl-00006",
      "rl-best",
      "supervised-00004",
    ]);
    assert.deepEqual(await readdir(join(other, "rl-00001")), ["state"]);
  }));

Deno.test("pruneCheckpoints() leaves checkpoints alone that are elsewhere, as in a copy that links to its original", () =>
  inFolder(async (dir) => {
    await folders(join(dir, "original/checkpoints/rl-00001"), join(dir, "copy"));
    await symlink(join(dir, "original/checkpoints"), join(dir, "copy/checkpoints"));
    await pruneCheckpoints(join(dir, "copy"), ["rl-00002"]);
    assert.deepEqual(await readdir(join(dir, "original/checkpoints")), ["rl-00001"]);
    await pruneCheckpoints(join(dir, "nowhere"), []);
  }));

Deno.test("deleteOwn() deletes what hone wrote, and what somebody else put there stays", () =>
  inFolder(async (dir) => {
    await folders(join(dir, "env/0000"), join(dir, "checkpoints/rl-00001"), join(dir, "thesis"), join(dir, "victim"));
    for (const name of ["run.duckdb", "run.duckdb.wal", "run.log", "pipeline.yaml", "run.txt", "environment.yaml"]) {
      await writeFile(join(dir, name), "x");
    }
    await symlink(join(dir, "victim"), join(dir, "batches"));
    await deleteOwn(dir);
    assert.deepEqual((await readdir(dir)).sort(), ["environment.yaml", "run.txt", "thesis", "victim"]);
    assert.deepEqual(await readdir(join(dir, "victim")), ["state"]);
  }));

Deno.test("recordedPath() and recordedWeights() are relative where the path moves with the run", () =>
  inFolder(async (dir) => {
    const [run, evaluation] = [join(dir, "runs/one"), join(dir, "runs/evaluations/two")];
    await folders(join(run, "checkpoints/rl-00001"), evaluation, join(dir, "weights/mine"));
    await writeFile(join(run, "run.duckdb"), "");
    assert.equal(recordedPath(run, join(run, "adapter")), "adapter");
    assert.equal(recordedPath(run, "adapter"), "adapter");
    assert.equal(recordedPath(run, join(dir, "adapter")), join(dir, "adapter"));
    const weights = recordedWeights(evaluation, join(run, "checkpoints/rl-00001"));
    assert.equal(weights, "../../one/checkpoints/rl-00001");
    assert.equal(checkpointDir(evaluation, weights), join(run, "checkpoints/rl-00001"));
    assert.equal(recordedWeights(evaluation, join(dir, "weights/mine")), join(dir, "weights/mine"));
    assert.equal(checkpointDir(run, "rl-00001"), join(run, "checkpoints/rl-00001"));
  }));
