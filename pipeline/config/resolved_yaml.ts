/**
 * A run's record of its pipeline: the file with all defaults, `${NAME}` unexpanded, and the path of the original in the
 * first line. Loads like the original.
 * @module
 */
import { resolve } from "node:path";
import { stringify } from "yaml";
import type { PipelineConfig } from "./pipeline_schema.ts";

const RESOLVED = "# resolved by hone from ";

/** The original file of a record; undefined for other files. */
export function originOf(text: string): string | undefined {
  return text.startsWith(RESOLVED) ? text.slice(RESOLVED.length, text.indexOf("\n")) : undefined;
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
