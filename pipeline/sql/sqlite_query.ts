/**
 * Queries of SQLite databases, by SQLite's own WebAssembly build: it has no access to the machine's files, and a query
 * that takes too long can be stopped, which `node:sqlite` has no way to do. Files exist only in its memory, and only
 * during a query.
 * @module
 */
import type { Database, Sqlite3Static } from "@sqlite.org/sqlite-wasm";
import { messageOf } from "../diagnostics/mod.ts";
import type { Json } from "../events.ts";
import { asCell, type DatabaseBytes, failedQuery, LIMITS, type QueryAnswer, tooLarge } from "./query_answer.ts";

const PATH = "/database";
/** Of all files that a query may leave. */
const ENDS = ["", "-wal", "-journal"];
/** Instructions of SQLite's virtual machine between two looks at the clock. */
const STEPS = 10_000;
const MAX_HEAP_BYTES = 256_000_000;
const MAX_VALUE_BYTES = 10_000_000;

let loaded: Promise<Sqlite3Static> | undefined;

/** Answers a query; it blocks the process for at most `LIMITS.secs`. */
export async function querySqlite(files: DatabaseBytes, query: string): Promise<QueryAnswer> {
  const sqlite = await (loaded ??= load());
  const { capi, oo1 } = sqlite;
  for (const [end, bytes] of files) capi.sqlite3_js_posix_create_file(PATH + end, bytes);
  let db: Database | undefined;
  try {
    db = new oo1.DB(PATH, "rw");
    // Without shared memory, a write-ahead log is read by one connection alone.
    db.exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA hard_heap_limit = ${MAX_HEAP_BYTES};`);
    capi.sqlite3_limit(db, capi.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES);
    return answerOf(sqlite, db, query);
  } catch (error) {
    return failedQuery(plain(error));
  } finally {
    db?.close();
    for (const end of ENDS) capi.sqlite3_js_posix_create_file(PATH + end, new Uint8Array());
  }
}

async function load(): Promise<Sqlite3Static> {
  const { default: init } = await import("@sqlite.org/sqlite-wasm");
  const sqlite = await init();
  // It reports every error on the console too.
  Object.assign(sqlite.config, { error() {}, warn() {}, log() {}, debug() {} });
  return sqlite;
}

function answerOf({ capi }: Sqlite3Static, db: Database, query: string): QueryAnswer {
  const until = Date.now() + LIMITS.secs * 1000;
  capi.sqlite3_progress_handler(db, STEPS, () => Date.now() > until ? 1 : 0, 0);
  const statement = db.prepare(query);
  try {
    if (!capi.sqlite3_stmt_readonly(statement) || statement.columnCount === 0) {
      return { unseen: "the query is not a statement that reads" };
    }
    const rows: { [column: string]: Json }[] = [];
    let bytes = 0;
    while (statement.step()) {
      const row = asCell(statement.get({})) as { [column: string]: Json };
      rows.push(row);
      bytes += JSON.stringify(row).length;
      const large = tooLarge(rows.length, bytes);
      if (large) return large;
    }
    return { rows };
  } catch (error) {
    if (Date.now() > until) return { unseen: `the query takes longer than ${LIMITS.secs} s` };
    throw error;
  } finally {
    statement.finalize();
  }
}

function plain(error: unknown): string {
  return messageOf(error).replace(/^SQLITE_\w+: sqlite3 result code \d+: /, "");
}
