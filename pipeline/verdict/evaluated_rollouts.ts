/**
 * Reads evaluation rollouts from a run's store: one per policy, scenario, sampling and try, the last attempt of each,
 * with what its judges and its calls came to. Attempts without a reward are kept, with the reason why.
 * @module
 */
import type { Split } from "../events.ts";
import type { EvaluatedRollout, Queryable } from "./verdict_types.ts";

/** Calls and turns per rollout. A turn is invalid when its text was no readable call, or its call fitted no tool. */
export const TURN_COUNTS = `
  WITH bad AS (
    SELECT DISTINCT rollout_id, turn FROM tool_calls WHERE outcome IN ('unknown_tool', 'invalid_arguments')
  ), called AS (
    SELECT rollout_id, turn, count(*) AS calls, count(*) FILTER (WHERE outcome <> 'ok') AS failed,
      count(*) FILTER (WHERE outcome = 'unknown_tool') AS hallucinated
    FROM tool_calls GROUP BY ALL
  )
  SELECT t.rollout_id, count(*) AS turns, coalesce(sum(c.calls), 0) AS tool_calls, coalesce(sum(c.failed), 0) AS failed_calls,
    coalesce(sum(c.hallucinated), 0) AS hallucinated_tools,
    count(*) FILTER (WHERE t.invalid_call IS NOT NULL OR b.turn IS NOT NULL) AS invalid_calls,
    count(*) FILTER (WHERE t.invalid_call IS NOT NULL OR c.turn IS NOT NULL) AS call_turns,
    sum(t.prompt_tokens) AS prompt_tokens, sum(t.output_tokens) AS output_tokens, count(t.shortened) AS shortened
  FROM turns t
  LEFT JOIN bad b ON b.rollout_id = t.rollout_id AND b.turn = t.turn
  LEFT JOIN called c ON c.rollout_id = t.rollout_id AND c.turn = t.turn
  GROUP BY t.rollout_id`;

const rolloutsOf = (split: Split) => `
  SELECT r.rollout_id, r.policy, r.scenario_id, r.try, r.temperature, r.outcome, r.abandoned, r.seconds,
    w.value AS reward, w.invalid AS reward_invalid, w.success, w.rollout_id IS NOT NULL AS judged,
    n.turns, n.tool_calls, n.failed_calls, n.invalid_calls, n.hallucinated_tools, n.call_turns, n.prompt_tokens,
    n.output_tokens, n.shortened, u.tools
  FROM rollouts r
  LEFT JOIN rewards w USING (rollout_id)
  LEFT JOIN (${TURN_COUNTS}) n USING (rollout_id)
  LEFT JOIN (
    SELECT rollout_id, to_json(list_sort(list(DISTINCT tool))) AS tools
    FROM tool_calls WHERE outcome = 'ok' GROUP BY rollout_id
  ) u USING (rollout_id)
  WHERE r.purpose = 'evaluation' AND r.split = ${literal(split)}
  QUALIFY row_number() OVER (
    PARTITION BY r.policy, r.scenario_id, r.temperature > 0, r.try
    ORDER BY w.rollout_id IS NOT NULL DESC, r.policy_version DESC, r.attempt DESC, r.seq DESC
  ) = 1
  ORDER BY r.policy, r.scenario_id, r.temperature, r.try`;

/** Rollouts of the evaluations on a split, in a fixed order. */
export async function evaluatedRollouts(store: Queryable, split: Split): Promise<EvaluatedRollout[]> {
  return (await store.query(rolloutsOf(split))).map(rollout);
}

/** A text as an SQL literal; a live run is queried through its socket, which takes no parameters. */
export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

function rollout(row: Record<string, unknown>): EvaluatedRollout {
  const number = (name: string) => Number(row[name] ?? 0);
  const text = (name: string) => typeof row[name] === "string" ? row[name] : null;
  return {
    rollout_id: String(row.rollout_id),
    policy: String(row.policy),
    scenario_id: String(row.scenario_id),
    try: number("try"),
    sampling: number("temperature") > 0 ? "sampled" : "greedy",
    end: text("outcome") ?? "unfinished",
    success: row.success === true,
    reward: row.reward === null || row.reward === undefined ? null : Number(row.reward),
    invalid: row.judged === true ? text("reward_invalid") : text("abandoned") ?? "no judgement yet",
    turns: number("turns"),
    tool_calls: number("tool_calls"),
    failed_calls: number("failed_calls"),
    invalid_calls: number("invalid_calls"),
    hallucinated_tools: number("hallucinated_tools"),
    call_turns: number("call_turns"),
    prompt_tokens: number("prompt_tokens"),
    output_tokens: number("output_tokens"),
    shortened_turns: number("shortened"),
    seconds: number("seconds"),
    tools: JSON.parse(text("tools") ?? "[]") as string[],
  };
}
