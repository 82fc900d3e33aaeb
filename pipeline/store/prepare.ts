/**
 * Gets a run's file ready: makes the tables of a new one, brings one of an earlier version up to date, and reads where
 * its records end.
 * @module
 */
import type { DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import { HoneError, messageOf, store as messages } from "../diagnostics/mod.ts";
import { ddl } from "./ddl.ts";
import { SCHEMA_VERSION } from "./tables.ts";
import { type FileShape, isCurrent, SHAPE, temporaryViews, upgrade } from "./upgrade.ts";

/** A file that is ready to be used. */
export interface OpenFile {
  instance: DuckDBInstance;
  connections: [DuckDBConnection, DuckDBConnection];
  /** SQL that gives a connection the present tables, where the file is of an earlier version and only read. */
  views: string;
  run_id: string;
  next_seq: number;
  /** Recorded supervised steps. */
  supervised: number;
}

/** Makes the tables of a file that is written; returns the views that the connections to one that is read need. */
export async function prepared(
  connections: OpenFile["connections"],
  path: string,
  mode: "create" | "resume" | "read",
): Promise<string> {
  const [connection] = connections;
  if (mode === "create") {
    await transacted(connection, path, `${ddl()} INSERT INTO meta VALUES (${SCHEMA_VERSION});`);
    return "";
  }
  const shape = await shapeOf(connection, path);
  const [row] = await rowsOf(connection, "SELECT current_database() AS name");
  const database = `"${String(row!.name).replaceAll('"', '""')}"`;
  if (mode === "resume") {
    await transacted(connection, path, upgrade(shape, database) + ddl());
    return "";
  }
  if (isCurrent(shape)) return "";
  const views = temporaryViews(shape, database);
  for (const each of connections) await each.run(views);
  return views;
}

async function transacted(connection: DuckDBConnection, path: string, sql: string): Promise<void> {
  try {
    await connection.run(`BEGIN; ${sql} COMMIT;`);
  } catch (error) {
    throw new HoneError(messages.write_failed(path, messageOf(error)), { cause: error });
  }
}

/** The file's version, tables and columns. Throws a HoneError if it is not a run's, or of a newer version of hone. */
async function shapeOf(connection: DuckDBConnection, path: string): Promise<FileShape> {
  const found = await rowsOf(connection, "SELECT schema_version FROM meta").catch(() => []);
  const version = Number(found[0]?.schema_version ?? 0);
  if (version === 0) throw new HoneError(messages.not_a_run(path));
  if (version > SCHEMA_VERSION) throw new HoneError(messages.newer(path, version, SCHEMA_VERSION));
  const tables = new Map<string, Set<string>>();
  for (const { table_name, column_name } of await rowsOf(connection, SHAPE)) {
    const table = String(table_name);
    tables.set(table, (tables.get(table) ?? new Set()).add(String(column_name)));
  }
  return { version, tables };
}

/** The id of the run, and where its records end. */
export async function factsOf(connection: DuckDBConnection, run_id: string) {
  const [row] = await rowsOf(
    connection,
    `SELECT (SELECT coalesce(max(seq), 0) + 1 FROM events) AS next_seq, (SELECT run_id FROM runs) AS run_id,
      (SELECT coalesce(max(step), 0) FROM train_steps WHERE kind = 'supervised') AS supervised`,
  );
  return {
    run_id: String(row!.run_id ?? run_id),
    next_seq: Number(row!.next_seq),
    supervised: Number(row!.supervised),
  };
}

async function rowsOf(connection: DuckDBConnection, sql: string) {
  return (await connection.runAndReadAll(sql)).getRowObjectsJS();
}
