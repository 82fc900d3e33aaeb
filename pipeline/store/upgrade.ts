/**
 * Files of earlier versions of hone. One that is only read gets temporary views with the present names, types and
 * columns; one that is resumed is rewritten with them. Both select the same.
 * @module
 */
import { literal, TABLE_NAMES, tableDdl, viewsDdl } from "./ddl.ts";
import { type Column, columnsOf, SCHEMA_VERSION, type Table, type TableName, TABLES } from "./tables.ts";
import { VIEWS } from "./views.ts";

/** What a file has. */
export interface FileShape {
  version: number;
  /** Columns by table. */
  tables: Map<string, Set<string>>;
}

/** SQL for a file's shape: one row per column. */
export const SHAPE =
  "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND database_name <> 'temp'";

/** Names that changed: `[table, earlier, present]`. */
const RENAMED: [tables: string, earlier: string, present: string][] = [
  ["rollouts", "outcome_end", "outcome"],
  ["turns", "index", "turn"],
  ["tools", "name", "tool"],
  ["policies", "name", "policy"],
  ["policies", "version", "policy_version"],
  ...(["events", "llm_calls", "train_steps", "policies", "evaluations", "exports", "metrics"]
    .map((table): [string, string, string] => [table, "at", "recorded_at"])),
];

/** The names that a failed query's error misses because they have changed. */
export function renamedIn(reason: string): typeof RENAMED {
  const [, missed] = /(?:Referenced column|column named) "([^"]+)"/.exec(reason) ?? [];
  return RENAMED.filter(([, earlier]) => earlier === missed?.split(".").at(-1)?.toLowerCase());
}

/** True if the file has every table and column of this version. */
export function isCurrent({ version, tables }: FileShape): boolean {
  return version === SCHEMA_VERSION && TABLE_NAMES.every((table) => missing({ version, tables }, table).length === 0);
}

function missing({ tables }: FileShape, table: TableName): [string, Column][] {
  return columnsOf(table).filter(([column]) => !tables.get(table)?.has(column));
}

/** Temporary views of an outdated file, for one connection; `database` is its name in DuckDB. */
export function temporaryViews(shape: FileShape, database: string): string {
  const tables = TABLE_NAMES.map((table) => `CREATE TEMP VIEW "${table}" AS ${selected(shape, table, database)};`);
  return [...tables, viewsDdl("TEMP")].join("\n");
}

/** Statements that bring an outdated file up to date, to be run in one transaction. */
export function upgrade(shape: FileShape, database: string): string {
  if (shape.version === SCHEMA_VERSION) {
    const added = TABLE_NAMES.filter((table) => shape.tables.has(table)).flatMap((table) =>
      missing(shape, table).map(([column, [type]]) => `ALTER TABLE "${table}" ADD COLUMN "${column}" ${type};`)
    );
    return added.join("\n");
  }
  const rebuilt = TABLE_NAMES.filter((table) => table !== "meta");
  return [
    ...rebuilt.map((table) => tableDdl(table, `${table}.new`)),
    ...rebuilt.map((table) => `INSERT INTO "${table}.new" ${selected(shape, table, database)};`),
    ...Object.keys(VIEWS).map((view) => `DROP VIEW IF EXISTS "${view}";`),
    ...rebuilt.map((table) => `DROP TABLE IF EXISTS "${table}"; ALTER TABLE "${table}.new" RENAME TO "${table}";`),
    `UPDATE meta SET schema_version = ${SCHEMA_VERSION};`,
  ].join("\n");
}

/** Metrics of a step's rollouts, whose steps were counted from 0 (schema 1). */
const ROLLOUT_METRICS = [
  "valid",
  "reward_mean",
  "success_rate",
  "invalid_call_rate",
  "turns_mean",
  "output_tokens_mean",
  "distinct_call_sequences",
  "zero_variance_groups",
];

/** The present columns of a table `t` of schema 1, where they are not simply there. */
function earlier(table: TableName, database: string): Record<string, string> {
  const supervised = `(SELECT coalesce(max(step), 0) FROM ${database}.main.train_steps WHERE kind = 'supervised')`;
  const rl_step = { step: "CASE WHEN t.step >= 0 THEN t.step + 1 END" };
  const of_rollouts = `t.name IN (${ROLLOUT_METRICS.map(literal).join(", ")})`;
  const measured =
    `(SELECT count(*) > 0 FROM ${database}.main.events WHERE type = 'run.started' AND payload IS NOT NULL)`;
  const own = "regexp_matches(t.checkpoint, '^(/|[A-Za-z]:).*[/\\\\]checkpoints[/\\\\][^/\\\\]+$')";
  // Was the absolute folder, also of runs that have been moved since.
  const checkpoint = `CASE WHEN ${own} AND NOT ${measured} THEN regexp_extract(t.checkpoint, '[^/\\\\]+$')
    ELSE t.checkpoint END`;
  const by_table: Partial<Record<TableName, Record<string, string>>> = {
    turns: { turn: 't."index"' },
    tools: { tool: "t.name" },
    policies: { policy: "t.name", policy_version: "t.version", checkpoint },
    rollout_requests: rl_step,
    groups: rl_step,
    rollout_ends: { outcome: "t.outcome_end" },
    train_steps: {
      step: `CASE t.kind WHEN 'rl' THEN t.step - ${supervised} ELSE t.step END`,
      optimizer_step: "t.step",
      checkpoint,
    },
    exports: { dir: "CASE WHEN ends_with(t.dir, '/' || t.exporter) THEN t.exporter ELSE t.dir END" },
    metrics: {
      kind: `CASE WHEN ${of_rollouts} OR t.step > ${supervised} THEN 'rl' ELSE 'supervised' END`,
      step: `CASE WHEN ${of_rollouts} THEN t.step + 1 WHEN t.step > ${supervised} THEN t.step - ${supervised}
        ELSE t.step END`,
      optimizer_step: `CASE WHEN ${of_rollouts} THEN t.step + 1 + ${supervised} ELSE t.step END`,
    },
  };
  return by_table[table] ?? {};
}

/** A SELECT of the present columns of a table from an outdated file. */
function selected({ version, tables }: FileShape, table: TableName, database: string): string {
  const found = tables.get(table);
  const from = `${database}.main."${table}" t`;
  const nothing = columnsOf(table).map(([column, [type]]) => `NULL::${type} AS "${column}"`);
  if (!found) return `SELECT ${nothing.join(", ")} WHERE false`;
  const given = version === 1 ? earlier(table, database) : {};
  const list = columnsOf(table).map(([column, [type]], i) => {
    if (given[column]) return `${given[column]} AS "${column}"`;
    if (version === 1 && column === "seq" && table !== "events") return `${sequence(table, database)} AS seq`;
    const named = column === "recorded_at" && version === 1 ? "at" : column;
    if (!found.has(named)) return nothing[i];
    return version === 1 && type === "TIMESTAMP"
      ? `make_timestamp(t."${named}" * 1000) AS "${column}"`
      : `t."${named}" AS "${column}"`;
  });
  return `SELECT ${list.join(", ")} FROM ${version === 1 ? from + numbered(table, database) : from}`;
}

/** Schema 1 had no `seq` in its tables; the n-th row of a table records the n-th event of its type. */
function sequence(table: TableName, database: string): string {
  const { event }: Table = TABLES[table];
  if (event !== "catalog.discovered") return "coalesce(e.seq, t.rowid)";
  return `(SELECT min(seq) FROM ${database}.main.events WHERE type = '${event}')`;
}

function numbered(table: TableName, database: string): string {
  const { event }: Table = TABLES[table];
  if (!event || event === "catalog.discovered") return "";
  return ` LEFT JOIN (SELECT seq, row_number() OVER (ORDER BY seq) - 1 AS n FROM ${database}.main.events
    WHERE type = '${event}') e ON e.n = t.rowid`;
}
