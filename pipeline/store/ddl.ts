/**
 * The SQL that makes the tables, views and comments of a run's file.
 * @module
 */
import { type Column, columnsOf, type TableName, TABLES } from "./tables.ts";
import { VIEWS } from "./views.ts";

/** Names of the tables. */
export const TABLE_NAMES = Object.keys(TABLES) as TableName[];

/** DDL of a table, under its own name or another one. */
export function tableDdl(table: TableName, name: string = table): string {
  const list = columnsOf(table).map(([column, [type]]) => `"${column}" ${type}`).join(", ");
  return `CREATE TABLE IF NOT EXISTS "${name}" (${list});`;
}

/** DDL of all tables (if they do not exist), views and comments. */
export function ddl(): string {
  return [...TABLE_NAMES.map((table) => tableDdl(table)), viewsDdl(""), commentsDdl()].join("\n");
}

/** DDL of the views; `kind` is `TEMP` for those of one connection. */
export function viewsDdl(kind: "TEMP" | ""): string {
  return Object.entries(VIEWS).map(([name, { select }]) => `CREATE OR REPLACE ${kind} VIEW ${name} AS ${select};`)
    .join("\n");
}

function commentsDdl(): string {
  return described().flatMap(({ name, kind, about, columns }) => [
    `COMMENT ON ${kind.toUpperCase()} "${name}" IS ${literal(about)};`,
    ...Object.entries(columns).map(([column, [, comment]]) =>
      `COMMENT ON COLUMN "${name}"."${column}" IS ${literal(comment)};`
    ),
  ]).join("\n");
}

/** A table or view with its comments. */
export interface Described {
  name: string;
  kind: "table" | "view";
  about: string;
  columns: Record<string, Column>;
}

/** All views and tables, the views first: they are what most queries need. */
export function described(): Described[] {
  return [
    ...Object.entries(VIEWS).map(([name, { about, columns }]) => ({ name, kind: "view" as const, about, columns })),
    ...TABLE_NAMES.map((name) => ({
      name,
      kind: "table" as const,
      about: TABLES[name].about,
      columns: Object.fromEntries(columnsOf(name)),
    })),
  ];
}

/** A text as an SQL literal. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
