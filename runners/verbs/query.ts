/** `hone query`: SQL over a run's records, while it runs and after. @module */
import { z } from "zod";
import { findRun, openRun } from "../../pipeline/store/live_run.ts";
import { table } from "./table.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "query",
  summary: "Ask a run's records in SQL.",
  description:
    "Runs one statement that reads (SELECT, FROM, WITH, DESCRIBE, SHOW, SUMMARIZE) on a run's DuckDB tables. A live run " +
    "answers itself; a run that has ended is read from its file. Text shows an aligned table, json all rows.",
  effect: "reads",
  positional: [
    { name: "run", description: "A run's folder, its id or the beginning of one, or latest." },
    { name: "sql", description: "The statement; `show tables` lists what there is." },
  ],
  args: z.strictObject({
    max_rows: z.int().min(1).default(200).describe("Rows that text shows at most."),
    width: z.int().min(8).default(60).describe("Characters that a cell of the table shows at most."),
  }),
  result: z.array(z.record(z.string(), z.unknown())).describe("Rows, by the names of their columns."),
  examples: [
    'hone query latest "show tables"',
    'hone query latest "SELECT policy, avg(value) FROM rollouts JOIN rewards USING (rollout_id) GROUP BY policy"',
    'hone query runs/files-20261121-104500-a1b2 "FROM turns WHERE invalid_call IS NOT NULL" --format json',
  ],
  async run({ positional: [word, sql] }) {
    await using run = await openRun(await findRun(word!));
    return await run.query(sql!);
  },
  text: (rows, { args }) => rows.length > 0 ? table(rows.slice(0, args.max_rows), args.width) : "",
  remarks(rows, { args }) {
    if (rows.length === 0) return ["no rows"];
    const more = rows.length - args.max_rows;
    return more > 0 ? [`${more} more rows: raise --max-rows`] : [];
  },
});
