/** `hone resume` failed with RUN_BUSY while a `hone query` of another process had the ended run open. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Store } from "../../pipeline/store/store.ts";
import { folder, hone, startRun } from "../runs/hone_process.ts";

Deno.test("resume waits for a reader of the run's file to finish", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  assert.equal((await startRun(run_dir).ended).code, 0);
  const reader = await Store.open(join(run_dir, "run.duckdb"), { run_id: "run", mode: "read" });
  const resuming = hone("resume", run_dir);
  await sleep(1500);
  await reader[Symbol.asyncDispose]();
  const { code, err } = await resuming;
  assert.equal(code, 0, err);
});
