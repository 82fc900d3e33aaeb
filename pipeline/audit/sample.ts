/**
 * Which rollouts of a run a judge is audited on: distinct attempts, in groups of one scenario each. The same seed picks
 * the same ones.
 * @module
 */
import { shuffled, stream } from "../common/random.ts";
import type { Scenario, Trajectory } from "../events.ts";
import { FAILURES } from "../run/bindings/bind_judge.ts";
import { allScenarios, trajectories } from "../store/recorded.ts";
import type { Store } from "../store/store.ts";

/** Rollouts of one scenario. */
export interface AuditedGroup {
  scenario: Scenario;
  group: Trajectory[];
}

/** Rollouts that can be judged, with a digest of what was done and said. */
const ATTEMPTS = `
  WITH calls AS (
    SELECT rollout_id, string_agg(concat_ws(' ', tool, arguments::VARCHAR, outcome), '|' ORDER BY turn, index) AS done
    FROM tool_calls GROUP BY rollout_id
  )
  SELECT r.rollout_id, r.scenario_id, md5(concat_ws('|', coalesce(r.answer, ''), r.outcome, coalesce(c.done, ''))) AS attempt,
    r.rollout_id IN (SELECT rollout_id FROM labels) AS labelled
  FROM rollouts r LEFT JOIN calls c USING (rollout_id)
  WHERE r.abandoned IS NULL AND r.purpose <> 'demonstration'
    AND r.outcome NOT IN (SELECT unnest(from_json($1, '["VARCHAR"]')))
  ORDER BY r.seq`;

/** Rollouts that a scenario contributes at a time: as many as an order needs. */
const AT_A_TIME = 2;

interface Attempt {
  rollout_id: string;
  scenario_id: string;
}

/**
 * Up to `count` rollouts: of each scenario two distinct attempts, then two more, and so on; those that people labelled
 * come first.
 */
export async function sampled(store: Store, count: number, seed: number): Promise<AuditedGroup[]> {
  const random = stream(seed, "audit");
  const rows = await store.query(ATTEMPTS, [JSON.stringify([...FAILURES])]);
  const mixed = shuffled(rows, random).toSorted((a, b) => Number(b.labelled) - Number(a.labelled));
  const seen = new Set<string>();
  const distinct = mixed.filter(({ scenario_id, attempt, labelled }) => {
    const key = `${scenario_id} ${attempt}`;
    if (seen.has(key) && !labelled) return false;
    seen.add(key);
    return true;
  }).map((row): Attempt => ({ rollout_id: String(row.rollout_id), scenario_id: String(row.scenario_id) }));
  const by_scenario = [...Map.groupBy(distinct, ({ scenario_id }) => scenario_id).values()];
  const chosen = inRounds(by_scenario, count);
  const scenarios = new Map((await allScenarios(store)).map((scenario) => [scenario.id, scenario]));
  const stored = await trajectories(store, chosen.map(({ rollout_id }) => rollout_id));
  const place = new Map(chosen.map(({ rollout_id }, index) => [rollout_id, index]));
  const ordered = stored.toSorted((a, b) => place.get(a.rollout_id)! - place.get(b.rollout_id)!);
  return [...Map.groupBy(ordered, ({ scenario_id }) => scenario_id)].flatMap(([id, group]) => {
    const scenario = scenarios.get(id);
    return scenario ? [{ scenario, group }] : [];
  });
}

function inRounds(by_scenario: Attempt[][], count: number): Attempt[] {
  const chosen: Attempt[] = [];
  for (let from = 0; chosen.length < count; from += AT_A_TIME) {
    const round = by_scenario.flatMap((attempts) => attempts.slice(from, from + AT_A_TIME));
    if (round.length === 0) break;
    chosen.push(...round);
  }
  return chosen.slice(0, count);
}
