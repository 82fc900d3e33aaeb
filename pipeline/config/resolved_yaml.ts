/**
 * A run's own record of its pipeline: everything with its defaults, `${NAME}` kept wherever it was written, and the file that
 * it comes from in its first line. Loads as the original did.
 * @module
 */
import { resolve } from "node:path";
import { stringify } from "yaml";
import type { PipelineConfig } from "./pipeline_schema.ts";

const RESOLVED = "# resolved by hone from ";

/** The file that a record was made of; undefined of other files. */
export function originOf(text: string): string | undefined {
  return text.startsWith(RESOLVED) ? text.slice(RESOLVED.length, text.indexOf("\n")) : undefined;
}

/** The pipeline with its defaults as YAML, `${NAME}` kept wherever it was written. */
export function resolved(origin: string, config: Partial<PipelineConfig>, raw: unknown): string {
  const text = JSON.stringify(config);
  const whole = JSON.parse(text, (_, value) => typeof value === "string" ? escapeReferences(value) : value);
  restore(whole, raw);
  return `${RESOLVED}${resolve(origin)}\n${stringify(whole, { lineWidth: 120 })}`;
}

/** Text that reads as itself when the file is read again. */
function escapeReferences(text: string): string {
  return text.replace(/\$\{(?!workdir\})[^}]*\}/g, (reference) => `$${reference}`);
}

/** Puts texts with `${…}` back over what the environment made of them. */
function restore(into: unknown, raw: unknown): void {
  if (into === null || typeof into !== "object" || raw === null || typeof raw !== "object") return;
  for (const [key, written] of Object.entries(raw)) {
    if (!(key in into)) continue;
    if (typeof written === "string" && written.includes("${")) (into as Record<string, unknown>)[key] = written;
    else restore((into as Record<string, unknown>)[key], written);
  }
}
