/** Queries of DuckDB databases, in a copy that no other query uses. @module */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type DuckDBConnection, DuckDBInstance, StatementType } from "@duckdb/node-api";
import { removeFolder } from "../common/open_folder.ts";
import { HoneError, messageOf } from "../diagnostics/mod.ts";
import type { Json } from "../events.ts";
import { limitedRows } from "../store/read_rows.ts";
import { asCell, type DatabaseBytes, failedQuery, LIMITS, type QueryAnswer } from "./query_answer.ts";

const OPTIONS = {
  enable_external_access: "false",
  autoinstall_known_extensions: "false",
  autoload_known_extensions: "false",
  lock_configuration: "true",
  memory_limit: "256MB",
  threads: "1",
};

/** Answers a query. */
export async function queryDuckdb(files: DatabaseBytes, query: string): Promise<QueryAnswer> {
  const folder = await mkdtemp(join(tmpdir(), "hone-sql-"));
  try {
    const path = join(folder, "database");
    for (const [end, bytes] of files) await writeFile(path + end, bytes, { mode: 0o600 });
    // Not read-only: a log beside the file is replayed into the copy.
    const instance = await DuckDBInstance.create(path, OPTIONS);
    try {
      const connection = await instance.connect();
      try {
        return await answerOf(connection, query);
      } finally {
        connection.closeSync();
      }
    } finally {
      instance.closeSync();
    }
  } catch (error) {
    return error instanceof HoneError
      ? { unseen: messageOf(error) }
      : failedQuery(messageOf(error).split("\n")[0]!.replaceAll(folder, ""));
  } finally {
    await removeFolder(folder);
  }
}

async function answerOf(connection: DuckDBConnection, query: string): Promise<QueryAnswer> {
  const statements = await connection.extractStatements(query);
  const type = statements.count === 1 ? (await statements.prepare(0)).statementType : undefined;
  if (type !== StatementType.SELECT) return { unseen: "the query is not a statement that reads" };
  const { rows: max_rows, result_bytes: max_bytes, secs: timeout_secs } = LIMITS;
  const rows = await limitedRows(connection, query, { max_rows, max_bytes, timeout_secs });
  return { rows: rows.map((row) => asCell(row) as { [column: string]: Json }) };
}
