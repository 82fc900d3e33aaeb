/**
 * The speeds of earlier runs on this machine, for estimates before a run starts: one small file for each model and
 * pipeline in hone's cache. It says nothing about what the runs did.
 * @module
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { isObject } from "../../common/json.ts";
import { messageOf } from "../../diagnostics/mod.ts";
import { writeAside } from "../../common/write_aside.ts";
import type { PipelineConfig } from "../../config/pipeline_schema.ts";
import type { Store } from "../../store/store.ts";
import type { Run } from "../context.ts";
import type { Phase, Speeds } from "./forecast.ts";

/** What is kept of a run. */
export interface EarlierRun {
  schema: "speeds.v1";
  pipeline: string;
  run: string;
  /** When it ended. */
  at: string;
  /** Seconds from its start until the model was ready. */
  opening_secs: number;
  /** Seconds per unit of each kind of phase; of training steps, per rollout or demonstration in the step. */
  seconds: Partial<Record<Phase["kind"], number>>;
  /** Language-model requests per group of rollouts, by stage. */
  llm_calls: Record<string, number>;
}

type Named = Pick<PipelineConfig, "name" | "model" | "agent" | "tape" | "train" | "warm_start">;

/** Files that are kept; the oldest are deleted. */
const MOST = 200;

/** A run that has ended. */
type Ended = Pick<Run, "config" | "store" | "progress" | "run_dir" | "log">;

/**
 * Keeps the speeds of a run for later estimates; what an earlier run of the same pipeline measured besides stays. A run
 * does not fail because its cache cannot be written.
 */
export async function keepSpeeds(run: Ended, cache_dir: string): Promise<void> {
  const { opening_secs, speeds } = run.progress.measured();
  if (Object.keys(speeds).length === 0) return;
  for (const kind of ["rl", "supervised"] as const) {
    if (speeds[kind] !== undefined) speeds[kind] /= perStep(run.config, kind);
  }
  try {
    await keep(run, join(cache_dir, "speeds"), { opening_secs, seconds: speeds });
  } catch (error) {
    run.log.debug(`the run's speeds were not kept: ${messageOf(error)}`);
  }
}

async function keep(
  { config, store, run_dir }: Ended,
  folder: string,
  { opening_secs, seconds }: Pick<EarlierRun, "opening_secs" | "seconds">,
): Promise<void> {
  const path = join(folder, fileName(config));
  const before = await read(path);
  const kept: EarlierRun = {
    schema: "speeds.v1",
    pipeline: config.name,
    run: basename(run_dir),
    at: new Date().toISOString(),
    // The first run of all also creates the trainer's environment.
    opening_secs: Math.min(opening_secs, before?.opening_secs ?? Infinity),
    seconds: { ...before?.seconds, ...seconds },
    llm_calls: { ...before?.llm_calls, ...await llmCalls(store) },
  };
  await mkdir(folder, { recursive: true });
  await writeAside(path, JSON.stringify(kept));
  for (const file of (await newestFirst(folder, "")).slice(MOST)) await rm(join(folder, file), { force: true });
}

/** Requests per group of rollouts, cached ones included. */
async function llmCalls(store: Store): Promise<EarlierRun["llm_calls"]> {
  const rows = await store.query(
    "SELECT stage, count(*) / (SELECT count(*) FROM groups) AS rate FROM llm_calls GROUP BY stage",
  );
  return Object.fromEntries(rows.map(({ stage, rate }) => [String(stage), Number(rate)]));
}

/** The last run of this pipeline with its model, or else of another one with the model; null if there is none. */
export async function earlierRun(config: Named, cache_dir: string): Promise<EarlierRun | null> {
  const folder = join(cache_dir, "speeds");
  const own = await read(join(folder, fileName(config)));
  if (own) return own;
  for (const file of await newestFirst(folder, modelKey(config))) {
    const other = await read(join(folder, file));
    if (other) return other;
  }
  return null;
}

/** The speeds of an earlier run, for a run with these settings. */
export function speedsOf({ seconds }: EarlierRun, config: Named): Speeds {
  return (kind) => {
    const known = seconds[kind];
    if (known === undefined) return null;
    return kind === "rl" || kind === "supervised" ? known * perStep(config, kind) : known;
  };
}

function perStep({ train, warm_start }: Named, kind: "rl" | "supervised"): number {
  return kind === "rl" ? train.groups_per_step * train.group_size : warm_start.batch_size;
}

function fileName(config: Named): string {
  return `${modelKey(config)}-${short(config.name)}.json`;
}

/** A replayed run has the speed of its tape. */
function modelKey({ model, agent, tape }: Named): string {
  return short(JSON.stringify([model ?? agent.endpoint?.model, tape.mode === "replay"]));
}

function short(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

async function newestFirst(folder: string, prefix: string): Promise<string[]> {
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.startsWith(prefix));
  const dated = await Promise.all(names.map(async (name) => {
    return { name, at: (await stat(join(folder, name)).catch(() => null))?.mtimeMs ?? 0 };
  }));
  return dated.sort((a, b) => b.at - a.at).map(({ name }) => name);
}

/** A file of this version, or null. */
async function read(path: string): Promise<EarlierRun | null> {
  try {
    const value = JSON.parse(await readFile(path, "utf8"));
    return isObject(value) && value.schema === "speeds.v1" ? value as unknown as EarlierRun : null;
  } catch {
    return null;
  }
}
