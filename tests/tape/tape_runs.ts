/** What a run recorded, without what differs from run to run: times. @module */
import { rows } from "../runs/hone_process.ts";

/** Rollouts, turns, calls, observations, judgements and rewards, in an order that does not depend on time. */
export async function records(run_dir: string): Promise<string> {
  const tables = ["turns", "tool_calls", "observations", "judgements", "rewards"];
  const queries = [
    "SELECT rollout_id, outcome, answer, cause FROM rollouts",
    ...tables.map((table) => `SELECT COLUMNS(c -> c NOT IN ('seconds', 'at', 'seq')) FROM ${table}`),
  ];
  const found = await Promise.all(queries.map((query) => rows(run_dir, query)));
  return found.map((table) => table.map((row) => JSON.stringify(row, plain)).sort().join("\n")).join("\n\n");
}

function plain(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : value;
}
