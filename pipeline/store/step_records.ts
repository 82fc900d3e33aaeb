/** What the steps of RL so far say about scenarios and about the run. @module */
import type { EvaluationTarget } from "../events.ts";
import type { Store } from "./store.ts";

/** Attempts at a scenario in one step of RL, or before it. */
export interface Attempts {
  scenario_id: string;
  passed: number;
  /** Attempts with a valid reward. */
  judged: number;
}

/** Attempts at training scenarios in an evaluation, and then in each RL step up to `step`: by scenario, oldest first. */
export async function attemptsAt(
  store: Store,
  { policy, split, temperature }: Omit<EvaluationTarget, "policy_version">,
  step: number,
): Promise<Attempts[]> {
  const rows = await store.query(
    `SELECT r.scenario_id, count(*) FILTER (w.success) AS passed, count(*) AS judged FROM (
       SELECT * FROM rollout_requests WHERE (purpose = 'train' AND step <= $4)
         OR (purpose = 'evaluation' AND policy = $1 AND split = $2 AND temperature = $3)
       QUALIFY attempt = max(attempt) OVER (PARTITION BY group_id)
     ) r JOIN rewards w USING (rollout_id) WHERE w.invalid IS NULL
     GROUP BY r.scenario_id, r.group_id, r.purpose, r.step ORDER BY r.scenario_id, r.purpose, r.step, r.group_id`,
    [policy, split, temperature, step],
  );
  return rows.map(({ scenario_id, passed, judged }) => ({
    scenario_id: String(scenario_id),
    passed: Number(passed),
    judged: Number(judged),
  }));
}

/** The metrics of the last RL steps, the newest first. */
export async function lastStepMetrics(store: Store, count: number): Promise<Record<string, number>[]> {
  const rows = await store.query("SELECT metrics FROM train_steps WHERE kind = 'rl' ORDER BY seq DESC LIMIT $1", [
    count,
  ]);
  return rows.map(({ metrics }) => JSON.parse(String(metrics)) as Record<string, number>);
}
