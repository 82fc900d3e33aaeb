/**
 * Why held-out rollouts fail: clusters of failures with equal causes, and wrong tools in place of right ones. The report
 * shows the same rows.
 * @module
 */
import type { Split } from "../../events.ts";
import { COMPARED_TEXT, evaluated, FAILED, masked } from "./query_parts.ts";

/**
 * Failed rollouts by how they ended and by what went wrong, in which quoted texts, paths and numbers are masked: the
 * judges' reasons for an answer, else the last invalid or failed call, else the outcome's cause.
 */
export const failureClusters = (split?: Split) => `
WITH ${evaluated(split)}, ${FAILED}, invalid AS (
  SELECT rollout_id, arg_max(invalid_call, turn) AS detail FROM turns WHERE invalid_call IS NOT NULL GROUP BY ALL
), refused AS (
  SELECT rollout_id, arg_max(outcome || ': ' || text, turn * 1000 + index) AS detail
  FROM tool_calls WHERE outcome <> 'ok' GROUP BY ALL
), judged AS (
  SELECT rollout_id, string_agg(judge || ': ' || reason, '; ' ORDER BY judge DESC) AS detail
  FROM judgements WHERE score < 1 GROUP BY ALL
), explained AS (
  SELECT f.*, s.tags, substr(coalesce(
    CASE WHEN f.outcome IN ('answered', 'completed') THEN j.detail ELSE coalesce(i.detail, c.detail) END, f.cause, j.detail, ''
  ), 1, ${COMPARED_TEXT}) AS detail
  FROM failed f
    LEFT JOIN (SELECT scenario_id, any_value(tags) AS tags FROM scenarios GROUP BY ALL) s USING (scenario_id)
    LEFT JOIN invalid i USING (rollout_id) LEFT JOIN refused c USING (rollout_id) LEFT JOIN judged j USING (rollout_id)
)
SELECT policy, sampling, outcome, ${masked("detail")} AS pattern, count(*)::INTEGER AS rollouts,
  count(DISTINCT scenario_id)::INTEGER AS scenarios,
  to_json(list_sort(list_distinct(flatten(list(coalesce(tags, [])))))) AS tags,
  min(scenario_id) AS example_scenario, arg_min(rollout_id, (scenario_id, rollout_id)) AS example_rollout,
  arg_min(detail, (scenario_id, rollout_id)) AS example
FROM explained GROUP BY ALL ORDER BY policy, sampling, rollouts DESC, outcome, pattern`;

/** In failed rollouts, the first call whose tool is not the one of the reference solution. */
export const confusion = (split?: Split) => `
WITH ${evaluated(split)}, ${FAILED}, expected AS (
  SELECT scenario_id, unnest(tools) AS tool, generate_subscripts(tools, 1) AS position
  FROM (SELECT DISTINCT scenario_id, scenario->>'$.solution.calls[*].tool' AS tools FROM scenarios)
), called AS (
  SELECT rollout_id, tool, row_number() OVER (PARTITION BY rollout_id ORDER BY turn, index) AS position FROM tool_calls
), wrong AS (
  SELECT f.policy, f.sampling, f.scenario_id, f.rollout_id, x.position, x.tool AS expected, c.tool AS taken
  FROM failed f JOIN expected x USING (scenario_id)
    LEFT JOIN called c ON c.rollout_id = f.rollout_id AND c.position = x.position
  WHERE c.tool IS DISTINCT FROM x.tool
  QUALIFY row_number() OVER (PARTITION BY f.rollout_id ORDER BY x.position) = 1
)
SELECT policy, sampling, expected, taken, count(*)::INTEGER AS rollouts, min(scenario_id) AS example_scenario,
  arg_min(rollout_id, (scenario_id, rollout_id)) AS example_rollout
FROM wrong GROUP BY ALL ORDER BY policy, sampling, rollouts DESC, expected, taken`;
