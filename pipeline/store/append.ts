/**
 * Appends rows to DuckDB tables column by column, in chunks of its vector size. Token lists are copied without boxing:
 * boxing every token as a DuckDB value costs more than the rest of recording a turn.
 * @module
 */
import {
  BIGINT,
  BOOLEAN,
  DOUBLE,
  type DuckDBConnection,
  DuckDBDataChunk,
  type DuckDBListValue,
  DuckDBTimestampValue,
  type DuckDBType,
  type DuckDBValue,
  FLOAT,
  INTEGER,
  LIST,
  TIMESTAMP,
  VARCHAR,
} from "@duckdb/node-api";
import { type Cell, columnsOf, type ColumnType, type TableName } from "./tables.ts";

/** Rows that one chunk of DuckDB holds. */
const CHUNK_ROWS = 2048;

const TYPES: Record<ColumnType, DuckDBType> = {
  VARCHAR,
  JSON: VARCHAR,
  BIGINT,
  INTEGER,
  DOUBLE,
  BOOLEAN,
  TIMESTAMP,
  "INTEGER[]": LIST(INTEGER),
  "FLOAT[]": LIST(FLOAT),
  "VARCHAR[]": LIST(VARCHAR),
};

/** Appends rows, cells in the table's column order, within the connection's transaction. */
export async function appendRows(connection: DuckDBConnection, table: TableName, rows: Cell[][]): Promise<void> {
  const columns = columnsOf(table).map(([, [type]]) => type);
  const types = columns.map((type) => TYPES[type]);
  const appender = await connection.createAppender(table);
  for (let from = 0; from < rows.length; from += CHUNK_ROWS) {
    const part = rows.slice(from, from + CHUNK_ROWS);
    const chunk = DuckDBDataChunk.create(types, part.length);
    for (const [i, type] of columns.entries()) chunk.setColumnValues(i, part.map((row) => value(type, row[i])));
    appender.appendDataChunk(chunk);
  }
  appender.closeSync();
}

function value(type: ColumnType, cell: Cell | undefined): DuckDBValue {
  if (cell === null || cell === undefined) return null;
  if (type === "BIGINT") return BigInt(Math.trunc(cell as number));
  if (type === "TIMESTAMP") return new DuckDBTimestampValue(BigInt(Math.trunc(cell as number)) * 1000n);
  if (type === "INTEGER") return Math.trunc(cell as number);
  // A list is read only by length and index, so a typed array needs no copy.
  if (type.endsWith("[]")) return { items: cell } as unknown as DuckDBListValue;
  return cell as DuckDBValue;
}
