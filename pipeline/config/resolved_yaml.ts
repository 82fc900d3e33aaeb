/**
 * A run's record of its pipeline: the file with all defaults, `${NAME}` unexpanded, and the path of the original in the
 * first line. Loads like the original. In a run's folder, the second line holds the original's path from there: if the
 * run was moved together with its project, that is where the original is now.
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, relative, resolve, sep } from "node:path";
import { stringify } from "yaml";
import type { PipelineConfig } from "./pipeline_schema.ts";

const RESOLVED = "# resolved by hone from ";

const FROM_HERE = "# from this folder: ";

/** The original of the record at `file`; undefined for other files. */
export function originOf(text: string, file: string): string | undefined {
  if (!text.startsWith(RESOLVED)) return undefined;
  const [first = "", second = ""] = text.split("\n", 2);
  const recorded = first.slice(RESOLVED.length);
  if (!second.startsWith(FROM_HERE)) return recorded;
  const near = resolve(dirname(file), second.slice(FROM_HERE.length));
  if (!existsSync(near)) return recorded;
  // A run that was moved to another project alone may have another pipeline at that path.
  return !existsSync(recorded) || nameIn(near) === nameIn(file) ? near : recorded;
}

function nameIn(file: string): string | undefined {
  try {
    return /^name:\s*(.+?)\s*$/m.exec(readFileSync(file, "utf8"))?.[1]?.replace(/^(["'])(.*)\1$/, "$2");
  } catch {
    return undefined;
  }
}

/** A record for the folder of its run. */
export function placed(resolved_yaml: string, run_dir: string): string {
  const [first = "", ...rest] = resolved_yaml.split("\n");
  const near = relative(run_dir, first.slice(RESOLVED.length)).replaceAll(sep, "/");
  return [first, FROM_HERE + near, ...rest].join("\n");
}

/** Relative paths of a pipeline, as given: its record keeps them, so that it can be moved with its project. */
export interface GivenPaths {
  model?: string;
  tape_path?: string;
}

/** What a record holds: the pipeline without the fields that are not allowed with a hosted trainer. */
export function written(
  config: PipelineConfig,
  { model = config.model, tape_path = config.tape.path }: GivenPaths,
  hosted: boolean,
): Partial<PipelineConfig> {
  const tape = { ...config.tape, ...(tape_path !== undefined && { path: tape_path }) };
  const whole: Partial<PipelineConfig> = { ...config, ...(model !== undefined && { model }), tape };
  if (hosted) { for (const key of ["ladder", "warm_start", "train"] as const) delete whole[key]; }
  return whole;
}

/** The pipeline with its defaults as YAML, `${NAME}` unexpanded. */
export function resolved(origin: string, config: Partial<PipelineConfig>, raw: unknown): string {
  const text = JSON.stringify(config);
  const whole = JSON.parse(text, (_, value) => typeof value === "string" ? escapeReferences(value) : value);
  restore(whole, raw);
  return `${RESOLVED}${resolve(origin)}\n${stringify(whole, { lineWidth: 120 })}`;
}

/** Escapes text so that it is unchanged when the file is read again. */
function escapeReferences(text: string): string {
  return text.replace(/\$\{(?!workdir\})[^}]*\}/g, (reference) => `$${reference}`);
}

/** A copy of a parsed value in which texts with `${…}` are as they were written. */
export function asWritten<T>(value: T, raw: unknown): T {
  const copy = structuredClone(value);
  restore(copy, raw);
  return copy;
}

/** Restores texts with `${…}` in place of their expanded values. */
function restore(into: unknown, raw: unknown): void {
  if (into === null || typeof into !== "object" || raw === null || typeof raw !== "object") return;
  for (const [key, written] of Object.entries(raw)) {
    if (!Object.hasOwn(into, key)) continue;
    if (typeof written === "string" && written.includes("${")) (into as Record<string, unknown>)[key] = written;
    else restore((into as Record<string, unknown>)[key], written);
  }
}
