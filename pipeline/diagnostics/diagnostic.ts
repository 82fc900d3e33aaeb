/**
 * The parts of every message: the diagnostic, the error that carries it, and how values are shown in it.
 * @module
 */

import { relative } from "node:path";

/** One problem. `line` and `col` are 1-based; `frame` is ready to print. */
export interface Diagnostic {
  code: string;
  message: string;
  hint?: string;
  file?: string;
  line?: number;
  col?: number;
  frame?: string;
}

/** An error that a person can act on: `code` and `hint` of its first diagnostic, and the list of all of them. */
export class HoneError extends Error {
  override name = "HoneError";
  readonly code: string;
  readonly hint?: string;
  readonly diagnostics: Diagnostic[];

  constructor(diagnostics: Diagnostic | Diagnostic[], options?: ErrorOptions) {
    const all = Array.isArray(diagnostics) ? diagnostics : [diagnostics];
    super(all.map((d) => d.message).join("\n"), options);
    this.code = all[0]?.code ?? "UNKNOWN";
    this.hint = all[0]?.hint;
    this.diagnostics = all;
  }
}

/** Builds a diagnostic; `hint` is optional. */
export function say(code: string, message: string, hint?: string): Diagnostic {
  return hint === undefined ? { code, message } : { code, message, hint };
}

/** Quotes a value for a message; long ones are truncated. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? text.slice(0, 77) + "…" : text;
}

/** A path as a word of a command line: relative if it is below the current folder, quoted if a shell needs that. */
export function shellPath(path: string): string {
  const near = relative(Deno.cwd(), path);
  const word = near === "" ? "." : near.startsWith("..") ? path : near;
  return /^[\w./@%+=:,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** The message of a thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A count with its noun: "1 tool", "2 tools". */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

/** Bytes in words: "1.2 GB". */
export function sizeOf(bytes: number): string {
  const units = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]] as const;
  const [unit, name] = units.find(([unit]) => bytes >= unit) ?? [1, "bytes"];
  return `${Number((bytes / unit).toPrecision(3))} ${name}`;
}

/** A value's type in YAML's terms. */
export function typeName(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  return {
    object: "a map",
    string: "a string",
    number: "a number",
    boolean: "true or false",
  }[typeof value as "object"] ??
    typeof value;
}

/** The candidate closest to a misspelt word, or undefined. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let limit = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const far = distance(word.toLowerCase(), candidate.toLowerCase());
    if (far < limit) [best, limit] = [candidate, far];
  }
  return best;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
