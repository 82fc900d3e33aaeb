/** The checks that judge/state reads: one condition on the end state each. @module */
import type { CallSpec, Json, Matcher, NamedCall } from "@hone/hone";
import { WAYS } from "@hone/hone";
import { call_schema, matcher_fields, numeric_tolerance, one_matcher, path_below } from "@hone/hone/schemas";
import { z } from "zod";

/** The keys of checks that look at entries of the rollout's folder. */
const FILE_KEYS = ["file", "absent", "directory"];
const KEYS = [...FILE_KEYS, "call", "sql"];

const sql_schema = z.strictObject({
  database: path_below.describe("Path of a SQLite or DuckDB file, below the rollout's own folder.")
    .meta({ examples: ["shop.db"] }),
  query: z.string().min(1).max(10_000).describe("One statement that only reads.")
    .meta({ examples: ["SELECT total FROM orders WHERE customer = 'Ada'"] }),
});

const check_schema = z.strictObject({
  file: path_below.optional().describe(
    "Path of a file that must exist in the end, below the rollout's own folder; its text is the compared value.",
  ).meta({ examples: ["notes.txt"] }),
  absent: path_below.optional().describe("Path that must not exist in the end.").meta({ examples: ["old.txt"] }),
  directory: path_below.optional().describe("Path of a folder that must exist in the end.").meta({ examples: ["box"] }),
  call: call_schema.optional().describe(
    "Tool call that hone makes after the rollout, of a read-only tool; it must succeed, and its result is the compared " +
      "value. `${workdir}` in an argument is replaced.",
  ).meta({ examples: [{ tool: "read_text_file", arguments: { path: "notes.txt" } }] }),
  sql: sql_schema.optional().describe(
    "Query that hone makes after the rollout, of a copy of a database file; it must succeed. The compared value is that of " +
      "a single row with a single column, otherwise the list of rows.",
  ).meta({ examples: [{ database: "shop.db", query: "SELECT count(*) FROM orders" }] }),
  path: z.string().optional().describe(
    "With `call` or `sql`: where in the result the compared value is, keys and list positions (from 0) joined by dots. " +
      "The result of a call is the tool's structured content, or else its text read as JSON. Default: the whole.",
  ).meta({ examples: ["items.0.name"] }),
  ...matcher_fields,
  unchanged: z.literal(true).optional().describe(
    "Instead of an expected value: the file, the folder with everything in it, or the result must be as it was before the " +
      "agent acted. The tool of a `call` must be known to be read-only, for it to be called before.",
  ).meta({ examples: [true] }),
  changed: z.literal(true).optional().describe(
    "Instead of an expected value: it must be different from before the agent acted.",
  ).meta({ examples: [true] }),
}).refine(
  (value) => KEYS.filter((key) => key in value).length === 1,
  "must have exactly one of file, absent, directory, call and sql",
).refine(...one_matcher).refine(...numeric_tolerance).refine(
  (value) => [WAYS.some((way) => way in value), "unchanged" in value, "changed" in value].filter(Boolean).length <= 1,
  "must have an expected value, unchanged or changed, and not two of them",
).refine(
  (value) => !("absent" in value && ("unchanged" in value || "changed" in value)),
  "what is absent can be neither unchanged nor changed",
);

/** One condition on the end state. */
export type Check =
  & ({ file: string } | { absent: string } | { directory: string } | ResultCheck)
  & Matcher
  & { unchanged?: true; changed?: true };

/** A check of what a call or a query answers. */
export type ResultCheck = { call: CallSpec; path?: string } | {
  sql: { database: string; query: string };
  path?: string;
};

/** A check's form is given by its refinements, which zod's types cannot express. */
export const checks_schema = z.array(check_schema).describe(
  "Conditions on the end state, all of which must hold; read by judge/state. Each has exactly one of `file`, `absent`, " +
    "`directory`, `call` and `sql`, and at most one of `equals`, `contains`, `matches`, `schema` and `set`, which a value " +
    "is compared with, or `unchanged` or `changed`.",
).meta({
  examples: [
    [{ file: "tree.txt", equals: "maple" }, { absent: "old.txt" }, { directory: "box" }],
    [{ file: "log.txt", matches: "^done: \\d+ files$" }, { file: "notes.txt", contains: "maple" }],
    [{
      call: { server: "shop", tool: "list_orders", arguments: { customer: "Ada" } },
      path: "orders.0.total",
      equals: 12.5,
      tolerance: 0.01,
    }],
    [
      { sql: { database: "shop.db", query: "SELECT name FROM customers" }, schema: { type: "array", minItems: 1 } },
      { file: "trees.txt", set: ["maple", "oak"] },
      { file: "notes.txt", unchanged: true },
      { call: { tool: "list_orders", arguments: { customer: "Ada" } }, changed: true },
    ],
  ],
}) as unknown as z.ZodType<Check[]>;

/** The calls in the checks. */
export function namedCalls(checks: Check[]): NamedCall[] {
  return checks.flatMap((check, i) =>
    "call" in check ? [{ as: "observed", call: check.call, path: [i, "call", "tool"] }] : []
  );
}

/** Paths of what names something in the rollout's own folder. */
export function namedPaths(checks: Check[]): (string | number)[][] {
  return checks.flatMap((check, i): (string | number)[][] =>
    "sql" in check ? [[i, "sql", "database"]] : FILE_KEYS.filter((key) => key in check).map((key) => [i, key])
  );
}

/** Whether a check is about the answer of a call or a query. */
export function isResultCheck<C extends Check>(check: C): check is C & ResultCheck {
  return "call" in check || "sql" in check;
}

/** What the check of a result asks. */
export function questionOf(check: ResultCheck): Json {
  return ("call" in check ? check.call : { ...check.sql }) as unknown as Json;
}

/** The path that a check of the folder is about. */
export function pathOf(check: Exclude<Check, ResultCheck>): string {
  const path = "file" in check ? check.file : "directory" in check ? check.directory : check.absent;
  return path.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
}
