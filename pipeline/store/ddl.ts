/**
 * The SQL schema of a run's file: tables, views, and columns that files of earlier versions lack.
 * @module
 */
import { type ColumnType, type TableName, TABLES } from "./tables.ts";

/** Columns that files of earlier versions lack, always the last of their table; added when such a file is resumed. */
export const ADDED_COLUMNS: [TableName, string, ColumnType][] = [
  ["turns", "tools", "VARCHAR[]"],
  ["turns", "policy_version", "INTEGER"],
  ["turns", "shortened", "JSON"],
  ["events", "cause", "BIGINT"],
  ["judgement_records", "abstain", "VARCHAR"],
  ["train_steps", "staleness", "INTEGER"],
  ["judgement_records", "made_by", "VARCHAR"],
  ["reward_records", "made_by", "VARCHAR"],
];

/** Views for people and for the verdict; recreated whenever a file is opened for writing. */
const VIEWS = `
CREATE OR REPLACE VIEW rollouts AS
  SELECT r.*, e.outcome_end, e.answer, e.cause, e.seconds, e.ended_at,
    CASE WHEN e.rollout_id IS NULL THEN coalesce(a.abandoned, 'unfinished') END AS abandoned
  FROM rollout_requests r LEFT JOIN rollout_ends e USING (rollout_id) LEFT JOIN rollout_abandoned a USING (rollout_id);
-- A group judged again on resume has several records; the last one counts. (Not by QUALIFY: of a filtered view DuckDB
-- 1.5.5 makes a plan that fails, and the failure takes the whole database with it.)
CREATE OR REPLACE VIEW judgements AS
  SELECT * FROM judgement_records WHERE rowid IN (SELECT max(rowid) FROM judgement_records GROUP BY rollout_id, judge);
CREATE OR REPLACE VIEW rewards AS
  SELECT * FROM reward_records WHERE rowid IN (SELECT max(rowid) FROM reward_records GROUP BY rollout_id);
CREATE OR REPLACE VIEW runs AS
  SELECT s.run_id, any_value(s.name) AS name, any_value(s.seed) AS seed, any_value(s.hone_version) AS hone_version,
    min(s.started_at) AS started_at, count(DISTINCT s.rowid) AS starts, max(s.started_at) AS last_started_at, max(e.ended_at) AS ended_at,
    CASE WHEN max(e.ended_at) >= max(s.started_at) THEN arg_max(e.status, e.rowid) ELSE 'running' END AS status,
    arg_max(e.sentence, e.rowid) AS sentence
  FROM run_starts s LEFT JOIN run_ends e USING (run_id) GROUP BY s.run_id;
`;

/** DDL of all tables (if they do not exist) and views. */
export function ddl(): string {
  const tables = Object.entries(TABLES).map(([name, columns]) => {
    const list = Object.entries(columns).map(([column, type]) => `"${column}" ${type}`).join(", ");
    return `CREATE TABLE IF NOT EXISTS ${name} (${list});`;
  });
  return tables.join("\n") + VIEWS;
}
