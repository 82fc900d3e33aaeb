/** Rows of queries as plain objects: all of them, or, for queries of users, within limits. @module */
import type { DuckDBConnection } from "@duckdb/node-api";
import { TimeUp, within } from "../common/deadline.ts";
import { control as messages, HoneError, sizeOf } from "../diagnostics/mod.ts";

/** A row of a query: numbers, strings, booleans, lists; JSON columns are strings. */
export type Row = Record<string, unknown>;

/** Limits of one query; without one of them it is not limited. */
export interface QueryLimits {
  max_rows?: number;
  /** Of the rows as JSON. */
  max_bytes?: number;
  timeout_secs?: number;
}

const AGAIN_MS = 50;

/** All rows of a query. */
export async function rowsOf(
  connection: DuckDBConnection,
  sql: string,
  params: readonly unknown[] = [],
): Promise<Row[]> {
  const reader = await connection.runAndReadAll(sql, params as never[]);
  return reader.getRowObjectsJS().map(plainRow);
}

/**
 * The rows of a query that stays within the limits. It is interrupted, and throws a HoneError, if it exceeds one; it is
 * interrupted, and throws the signal's reason, if the signal is aborted.
 */
export async function limitedRows(
  connection: DuckDBConnection,
  sql: string,
  { max_rows = Infinity, max_bytes = Infinity, timeout_secs = Infinity }: QueryLimits,
  signal: AbortSignal = new AbortController().signal,
): Promise<Row[]> {
  try {
    return await within(timeout_secs, signal, (inner) => interruptible(connection, inner, () => read(inner)));
  } catch (error) {
    if (error instanceof TimeUp) throw new HoneError(messages.query_timeout(sql, timeout_secs), { cause: error });
    throw error;
  }

  async function read(inner: AbortSignal): Promise<Row[]> {
    const rows: Row[] = [];
    let bytes = 0;
    const result = await connection.stream(sql);
    for await (const some of result.yieldRowObjectJs()) {
      inner.throwIfAborted();
      for (const row of some.map(plainRow)) {
        rows.push(row);
        if (max_bytes < Infinity) bytes += JSON.stringify(row).length;
        if (rows.length > max_rows) throw new HoneError(messages.query_too_large(sql, `${max_rows} rows`));
        if (bytes > max_bytes) throw new HoneError(messages.query_too_large(sql, sizeOf(max_bytes)));
      }
    }
    return rows;
  }
}

/** Interrupts what the connection does when the signal is aborted; then throws the signal's reason. */
async function interruptible<T>(connection: DuckDBConnection, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  let again: ReturnType<typeof setInterval> | undefined;
  const stop = () => {
    connection.interrupt();
    // An interrupt between two statements is lost.
    again = setInterval(() => connection.interrupt(), AGAIN_MS);
  };
  signal.addEventListener("abort", stop, { once: true });
  try {
    signal.throwIfAborted();
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", stop);
    clearInterval(again);
  }
}

function plainRow(row: object): Row {
  return Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, plain(cell)]));
}

/** Big integers become numbers if that is exact; dates become ISO strings. */
function plain(cell: unknown): unknown {
  if (typeof cell === "bigint") return Number.isSafeInteger(Number(cell)) ? Number(cell) : String(cell);
  if (cell instanceof Date) return cell.toISOString();
  if (Array.isArray(cell)) return cell.map(plain);
  if (cell !== null && typeof cell === "object" && Object.getPrototypeOf(cell) === Object.prototype) {
    return Object.fromEntries(Object.entries(cell).map(([name, value]) => [name, plain(value)]));
  }
  return cell;
}
