/**
 * What a run's folder holds, and paths in its records. They are relative to the folder, so that it can be moved, copied
 * and archived.
 * @module
 */
import { existsSync } from "node:fs";
import { lstat, readdir, readFile, rm } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { writeAside } from "../common/write_aside.ts";

/** The database of a run. */
export const DATABASE = "run.duckdb";
/** Folder of what scenario sources write, with a folder for each stage. */
export const SCENARIOS_FOLDER = "scenarios";

/** What hone writes into a run's folder before its first rollout ends. Every name may have a suffix, as in `.tmp`. */
const OWN = [
  DATABASE,
  "run.json",
  "run.log",
  "control.json",
  "pipeline.yaml",
  "tape.jsonl",
  "batches",
  "checkpoints",
  "dataset",
  "env",
  SCENARIOS_FOLDER,
];

/** Deletes what hone wrote into the folder of a run that failed at its start; everything else stays. */
export async function deleteOwn(run_dir: string): Promise<void> {
  const own = (await readdir(run_dir)).filter((name) => OWN.some((own) => name === own || name.startsWith(`${own}.`)));
  for (const name of own) await rm(join(run_dir, name), { recursive: true, force: true });
}

/** Names of checkpoints that hone makes; others in their folder are not touched. */
const CHECKPOINT = /^(supervised|rl)-\d{5,}$/;

/** Deletes the run's checkpoints, except for these ids. Nothing if their folder is a link to another place. */
export async function pruneCheckpoints(run_dir: string, kept: (string | undefined)[]): Promise<void> {
  const folder = join(run_dir, "checkpoints");
  if (!(await lstat(folder).catch(() => null))?.isDirectory()) return;
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isDirectory() || !CHECKPOINT.test(entry.name) || kept.includes(entry.name)) continue;
    await rm(join(folder, entry.name), { recursive: true, force: true });
  }
}

/**
 * The folder of a local checkpoint. Its id is the name of a folder of the run's checkpoints/; weights from elsewhere,
 * which a run only evaluates, are a path.
 */
export function checkpointDir(run_dir: string, id: string): string {
  return /[/\\]/.test(id) ? resolve(run_dir, id) : join(run_dir, "checkpoints", id);
}

/** The path of weights as a run records it: relative if they belong to a run, because runs may be moved together. */
export function recordedWeights(run_dir: string, weights: string): string {
  const belong = [dirname(weights), dirname(dirname(weights))].some((folder) => existsSync(join(folder, DATABASE)));
  return belong ? slashes(relative(run_dir, weights)) : weights;
}

/** The path as a run records it: relative if it is inside the run's folder. */
export function recordedPath(run_dir: string, path: string): string {
  const inside = relative(run_dir, resolve(run_dir, path));
  return inside.startsWith("..") || isAbsolute(inside) ? path : slashes(inside);
}

function slashes(path: string): string {
  return path.replaceAll(sep, "/");
}

/** `run.json`: facts that stay with a run when its folder is moved, renamed or copied. */
export interface RunFacts {
  run_id: string;
  /** Name of the pipeline. */
  name: string;
  /** When the run was last started or resumed: ISO 8601, in UTC. */
  started_at: string;
}

/** Writes `run.json`. */
export async function writeFacts(run_dir: string, facts: RunFacts): Promise<void> {
  await writeAside(join(run_dir, "run.json"), JSON.stringify(facts, null, 2) + "\n");
}

/** Reads `run.json`; null if there is none, as in runs of earlier versions. */
export async function readFacts(run_dir: string): Promise<RunFacts | null> {
  try {
    const facts = JSON.parse(await readFile(join(run_dir, "run.json"), "utf8"));
    return typeof facts.run_id === "string" && Number.isFinite(Date.parse(facts.started_at)) ? facts : null;
  } catch {
    return null;
  }
}

/** When a run of an earlier version started, according to its folder's name; null if the name does not tell. */
export function startedByName(run_dir: string): number | null {
  const [, date, time] = /-(\d{8})-(\d{6})-[0-9a-f]{4}$/.exec(basename(run_dir)) ?? [];
  if (!date || !time) return null;
  const at = Date.parse(
    `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}T${time.slice(0, 2)}:${time.slice(2, 4)}:${
      time.slice(4)
    }Z`,
  );
  return Number.isFinite(at) ? at : null;
}
