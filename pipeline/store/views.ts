/**
 * The views of `run.duckdb`, for people and for the verdict. None uses `rowid` or the clock: the last record is the one
 * with the highest `seq`.
 * @module
 */
import { type Column, columnsOf, type TableName } from "./tables.ts";

/** One view. */
export interface View {
  about: string;
  columns: Record<string, Column>;
  select: string;
}

const of = (table: TableName, ...left_out: string[]): Record<string, Column> =>
  Object.fromEntries(columnsOf(table).filter(([column]) => !left_out.includes(column)));

/**
 * Views by name. (Not by QUALIFY: of a filtered view DuckDB 1.5.5 makes a plan that fails, and the failure takes the
 * whole database with it.)
 */
export const VIEWS: Record<string, View> = {
  rollouts: {
    about: "Attempts at scenarios by policies, with how they ended.",
    columns: {
      ...of("rollout_requests"),
      ...of("rollout_ends", "seq", "rollout_id"),
      abandoned: ["VARCHAR", "Why it has no end: unfinished, or the reason for giving it up; NULL if it has ended."],
    },
    select: `SELECT r.*, e.* EXCLUDE (seq, rollout_id),
        CASE WHEN e.rollout_id IS NULL THEN coalesce(a.abandoned, 'unfinished') END AS abandoned
      FROM rollout_requests r LEFT JOIN rollout_ends e ON e.rollout_id = r.rollout_id
        LEFT JOIN rollout_abandoned a ON a.rollout_id = r.rollout_id`,
  },
  judgements: {
    about: "What each judge says about each rollout; if it judged twice, the last time.",
    columns: of("judgement_records"),
    select: `SELECT * FROM judgement_records
      WHERE seq IN (SELECT max(seq) FROM judgement_records GROUP BY rollout_id, judge)`,
  },
  labels: {
    about: "What people say about rollouts; if a person labelled a rollout twice, the last time.",
    columns: of("label_records"),
    select: `SELECT * FROM label_records
      WHERE seq IN (SELECT max(seq) FROM label_records GROUP BY rollout_id, labelled_by)`,
  },
  rewards: {
    about: "The reward of each rollout, and whether it succeeded.",
    columns: of("reward_records"),
    select: "SELECT * FROM reward_records WHERE seq IN (SELECT max(seq) FROM reward_records GROUP BY rollout_id)",
  },
  runs: {
    about: "The run of this file: one row.",
    columns: {
      ...of("run_starts", "seq", "started_at", "resumed", "machine"),
      started_at: ["TIMESTAMP", "When the run first started, in UTC."],
      starts: ["BIGINT", "How often it was started or resumed."],
      last_started_at: ["TIMESTAMP", "When it was last started or resumed, in UTC."],
      ended_at: ["TIMESTAMP", "When it last ended, in UTC."],
      status: ["VARCHAR", "How it ended (run_ends.status), or running: also after its process was killed."],
      sentence: ["VARCHAR", "Sentence of the verdict."],
    },
    select: `SELECT arg_min(run_id, seq) AS run_id, arg_min(name, seq) AS name, arg_min(seed, seq) AS seed,
        arg_min(hone_version, seq) AS hone_version, arg_min(started_at, seq) AS started_at, count(*) AS starts,
        arg_max(started_at, seq) AS last_started_at, (SELECT arg_max(ended_at, seq) FROM run_ends) AS ended_at,
        CASE WHEN (SELECT max(seq) FROM run_ends) > max(seq) THEN (SELECT arg_max(status, seq) FROM run_ends)
          ELSE 'running' END AS status,
        (SELECT arg_max(sentence, seq) FROM run_ends) AS sentence
      FROM run_starts HAVING count(*) > 0`,
  },
};
