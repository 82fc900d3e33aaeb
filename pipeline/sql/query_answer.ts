/** Answers to queries of database files, and their limits: shared by the engines. @module */
import { Buffer } from "node:buffer";
import { sizeOf } from "../diagnostics/mod.ts";
import type { Json } from "../events.ts";

/**
 * Rows by column; `failed`: the file has no such database, table or column, as a sentence; `unseen`: why the query says
 * nothing about the file.
 */
export type QueryAnswer = { rows: { [column: string]: Json }[] } | { failed: string } | { unseen: string };

/** A database file and what lies beside it, by the end of its name. */
export type DatabaseBytes = Map<string, Uint8Array>;

/** Limits of one query. */
export const LIMITS = { file_bytes: 64_000_000, rows: 1000, result_bytes: 100_000, secs: 2 };

/** A copy of a file that only one query uses. */
export type Engine = (files: DatabaseBytes, query: string) => Promise<QueryAnswer>;

/** A value of a row as JSON: what JSON has no form for becomes a text, bytes hexadecimal. */
export function asCell(value: unknown): Json {
  if (value === null || value === undefined) return null;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (Array.isArray(value)) return value.map(asCell);
  if (value instanceof Date) return value.toISOString();
  if (typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, asCell(inner)]));
  }
  return value as Json;
}

/** A result that is too large to be compared; undefined for one that is not. */
export function tooLarge(rows: number, bytes: number): QueryAnswer | undefined {
  if (rows > LIMITS.rows) return { unseen: `the query has more than ${LIMITS.rows} rows` };
  if (bytes > LIMITS.result_bytes) return { unseen: `the query's result has more than ${sizeOf(LIMITS.result_bytes)}` };
}

/** The answer to a query that failed; a statement that no database could answer says nothing about this one. */
export function failedQuery(reason: string): QueryAnswer {
  return /syntax error|incomplete input|parser error/i.test(reason)
    ? { unseen: `the query cannot be read: ${reason}` }
    : { failed: `the query failed: ${reason}` };
}
