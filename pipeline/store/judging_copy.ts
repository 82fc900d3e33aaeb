/**
 * A copy of a run's records to be judged again: everything but judgements, rewards, evaluations and requests to language
 * models. The original is only read. The copy's first new event is `rejudging.requested`.
 * @module
 */
import { existsSync } from "node:fs";
import { chmod, copyFile, mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { control, HoneError } from "../diagnostics/mod.ts";
import type { EvaluationTarget, EventMap } from "../events.ts";
import { lockHolder } from "./live_run.ts";
import { DATABASE } from "./run_folder.ts";
import { Store } from "./store.ts";
import type { TableName } from "./tables.ts";

/** What a judging makes anew. */
const MADE_ANEW: TableName[] = ["judgement_records", "reward_records", "evaluations", "llm_calls"];

/**
 * Copies the records of the run in `source` to the new folder `run_dir`. Throws a HoneError if the run is live,
 * `source` is not a run, or the folder is not empty.
 */
export async function copyForJudging(source: string, run_dir: string): Promise<void> {
  if ((await lockHolder(source)) !== null) throw new HoneError(control.rejudged_live(source));
  const path = join(source, DATABASE);
  await mkdir(run_dir, { recursive: true, mode: 0o700 });
  const names = await readdir(run_dir);
  if (names.length > 0) throw new HoneError(control.folder_in_use(run_dir, names.sort()));
  // Trajectories may be confidential.
  await chmod(run_dir, 0o700);
  // Renamed when it is ready: a half-made copy is not a run.
  const part = join(run_dir, `${DATABASE}.part`);
  try {
    // Not written meanwhile: a run that starts cannot open a file that is being read.
    await using original = await Store.open(path, { run_id: basename(source), mode: "read" });
    await copyFile(path, part);
    if (existsSync(`${path}.wal`)) await copyFile(`${path}.wal`, `${part}.wal`);
    const evaluations = await original.query("SELECT * FROM evaluations ORDER BY seq");
    const requested = { run_id: original.run_id, evaluations: evaluations.map(target) };
    await emptied(part, requested);
    await rename(part, join(run_dir, DATABASE));
  } finally {
    await rm(part, { force: true });
    await rm(`${part}.wal`, { force: true });
  }
}

async function emptied(path: string, data: EventMap["rejudging.requested"]): Promise<void> {
  {
    await using store = await Store.open(path, { run_id: data.run_id, mode: "resume" });
    const at = { seq: store.next_seq, at: Date.now(), run_id: store.run_id, source: "runner" };
    await store.append({ ...at, type: "rejudging.requested", data });
  }
  const instance = await DuckDBInstance.create(path, { enable_external_access: "false" });
  const connection = await instance.connect();
  try {
    await connection.run(`BEGIN; ${MADE_ANEW.map((table) => `DELETE FROM "${table}";`).join(" ")} COMMIT; CHECKPOINT;`);
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
}

function target(row: Record<string, unknown>): EvaluationTarget & { seconds: number } {
  const { policy, policy_version, split, temperature, seconds } = row;
  return { policy, policy_version, split, temperature, seconds } as EvaluationTarget & { seconds: number };
}
