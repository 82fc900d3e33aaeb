/** `hone query`: SQL over a run's records, during the run and afterwards. @module */
import { z } from "zod";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { described } from "../../pipeline/store/ddl.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { READY_QUERIES, withValue } from "../../pipeline/verdict/mod.ts";
import { namedRun } from "./named_run.ts";
import { table } from "./table.ts";
import { defineVerb, terminalOnly } from "./verb.ts";

export default defineVerb({
  name: "query",
  summary: "Query a run's records in SQL.",
  description:
    "Runs one read-only statement (SELECT, FROM, WITH, DESCRIBE, SHOW, SUMMARIZE) on a run's DuckDB tables. A live run is " +
    "queried through its process, an ended run from its file. Text prints an aligned table, json all rows. A query whose " +
    "result is too large or that takes too long is stopped, with a message. @name runs a ready-made query, which answers " +
    "what the report shows; --list tells them, docs/queries.md too. --schema lists all tables and columns with " +
    "what they hold; the database has the same comments.",
  effect: "reads",
  positional: [
    { name: "run", description: "A run's folder, its id or a prefix of it, or latest.", unless: ["schema", "list"] },
    {
      name: "sql",
      description: "The statement, or @ and the name of a ready-made query; `FROM duckdb_columns()` lists the columns.",
      unless: ["schema", "list"],
    },
  ],
  args: z.strictObject({
    schema: terminalOnly(
      z.boolean().default(false).describe("List all tables and columns, their types and what they hold; needs no run."),
    ),
    list: terminalOnly(z.boolean().default(false).describe("List the ready-made queries; needs no run.")),
    value: z.string().optional().describe("The step or the scenario that a ready-made query is about."),
    max_rows: z.int().min(1).default(200).describe("Maximum number of rows in text output."),
    max_result_rows: z.int().min(1).default(1_000_000).describe("Maximum number of rows of the result."),
    max_result_mb: z.int().min(1).default(100).describe("Maximum size of the result as JSON, in megabytes."),
    timeout_secs: z.number().positive().default(60).describe("Time limit of the query."),
    width: z.int().min(8).default(60).describe("Maximum characters per cell in text output."),
  }),
  result: z.array(z.record(z.string(), z.unknown())).describe("Rows, keyed by column name."),
  examples: [
    "hone query --schema",
    "hone query --list",
    "hone query latest @failure_clusters",
    "hone query latest @step --value 7",
    `hone query latest "SELECT policy, avg(value) FROM rollouts JOIN rewards USING (rollout_id) WHERE purpose = 'evaluation' GROUP BY policy"`,
    'hone query runs/files-20261121-104500-a1b2 "FROM turns WHERE invalid_call IS NOT NULL" --format json',
  ],
  async run({ args, positional: [word, sql], signal, caller }): Promise<Record<string, unknown>[]> {
    const { schema, max_result_rows, max_result_mb, timeout_secs } = args;
    if (schema) return schemaRows();
    if (args.list) return listRows();
    const statement = sqlOf(sql!, args.value);
    await using run = await openRun(await namedRun(word!, caller));
    return await run.query(statement, {
      max_rows: max_result_rows,
      max_bytes: max_result_mb * 1e6,
      timeout_secs,
      signal,
    });
  },
  text(rows, { args }) {
    if (args.schema) return schemaText();
    if (args.list) return listText();
    return rows.length > 0 ? table(rows.slice(0, args.max_rows), args.width) : "";
  },
  remarks(rows, { args }) {
    if (args.schema || args.list) return [];
    if (rows.length === 0) return ["no rows"];
    const more = rows.length - args.max_rows;
    return more > 0 ? [`${more} more rows: raise --max-rows`] : [];
  },
});

/** The SQL of a statement, or of the ready-made query that `@name` names. */
function sqlOf(given: string, value: string | undefined): string {
  if (!given.startsWith("@")) {
    if (value !== undefined) throw new HoneError(cli.value_without_query());
    return given;
  }
  const name = given.slice(1);
  const found = Object.hasOwn(READY_QUERIES, name) ? READY_QUERIES[name] : undefined;
  if (!found) throw new HoneError(cli.unknown_query(name, Object.keys(READY_QUERIES)));
  if (value !== undefined && !found.takes) throw new HoneError(cli.query_without_value(name));
  if (value !== undefined && found.takes === "step" && !/^\d{1,9}$/.test(value)) {
    throw new HoneError(cli.bad_value("--value", value, "expected the number of an RL step, from 1"));
  }
  return withValue(found, value);
}

function listRows() {
  return Object.entries(READY_QUERIES).map(([name, { about, takes, sql }]) => ({
    name,
    takes: takes ?? null,
    about,
    sql,
  }));
}

function listText(): string {
  const wide = Math.max(...Object.keys(READY_QUERIES).map((name) => name.length));
  const lines = Object.entries(READY_QUERIES).map(([name, { about, takes }]) =>
    `@${name.padEnd(wide)}  ${about}${takes ? ` --value: a ${takes}.` : ""}`
  );
  return [...lines, "", "hone query <run> @<name>"].join("\n");
}

/** One row for each table, followed by one for each of its columns. */
function schemaRows() {
  return described().flatMap(({ name, kind, about, columns }) => [
    { table: name, column: null, type: kind, comment: about },
    ...Object.entries(columns).map(([column, [type, comment]]) => ({ table: name, column, type, comment })),
  ]);
}

function schemaText(): string {
  return described().map(({ name, kind, about, columns }) => {
    const names = Object.keys(columns);
    const [wide, wider] = [names, Object.values(columns).map(([type]) => type)]
      .map((words) => Math.max(...words.map((word) => word.length)));
    const lines = Object.entries(columns).map(([column, [type, comment]]) =>
      `  ${column.padEnd(wide!)}  ${type.padEnd(wider!)}  ${comment}`
    );
    return [`${name} (${kind}): ${about}`, ...lines].join("\n");
  }).join("\n\n");
}
