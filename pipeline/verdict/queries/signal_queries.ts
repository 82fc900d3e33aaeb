/**
 * What each RL step learned from, and where its signal was lost. The report's signal health reads the same rows.
 * @module
 */
import { TURN_COUNTS } from "../evaluated_rollouts.ts";
import { EQUAL, masked, TRAINED } from "./query_parts.ts";

/** The figures of a step's rollouts, and those that its trainer reported. */
export const SIGNAL_PER_STEP = `
WITH ${TRAINED}, counts AS (${TURN_COUNTS}), sequences AS (
  SELECT rollout_id, string_agg(tool, ' ' ORDER BY turn, index) AS tools FROM tool_calls GROUP BY ALL
), capped AS (SELECT DISTINCT rollout_id FROM turns WHERE finish_reason = 'length'
), grouped AS (
  SELECT step, group_id, count(*) AS rollouts, count(value) AS valid, count(*) FILTER (WHERE success) AS successes,
    avg(value) AS reward, max(value) - min(value) AS spread, count(DISTINCT coalesce(tools, '')) AS sequences,
    count(*) FILTER (WHERE outcome IN ('max_turns', 'context_full', 'timeout', 'length')) AS truncated,
    count(capped.rollout_id) AS capped, sum(invalid_calls) AS invalid_calls, sum(call_turns) AS call_turns
  FROM trained LEFT JOIN counts USING (rollout_id) LEFT JOIN sequences USING (rollout_id)
    LEFT JOIN capped USING (rollout_id)
  GROUP BY ALL
), fed AS (
  SELECT step, count(*)::INTEGER AS groups,
    (count(*) FILTER (WHERE valid >= 2 AND spread < ${EQUAL}))::INTEGER AS equal_groups,
    (count(*) FILTER (WHERE valid < 2))::INTEGER AS small_groups,
    sum(rollouts)::INTEGER AS rollouts, sum(rollouts - valid)::INTEGER AS invalid, sum(successes)::INTEGER AS successes,
    avg(reward) AS reward, 1.96 * stddev_samp(reward) / sqrt(count(reward)) AS reward_margin,
    sum(truncated)::INTEGER AS truncated, sum(capped)::INTEGER AS capped,
    sum(invalid_calls)::INTEGER AS invalid_calls, sum(call_turns)::INTEGER AS call_turns,
    avg(sequences) AS call_sequences
  FROM grouped GROUP BY step
)
SELECT s.step, f.* EXCLUDE (step), s.loss, s.staleness, (s.metrics->>'$.mismatch_abs')::DOUBLE AS mismatch_abs,
  (s.metrics->>'$.kl_base')::DOUBLE AS kl_base, (s.metrics->>'$.entropy')::DOUBLE AS entropy,
  (s.metrics->>'$.grad_norm')::DOUBLE AS grad_norm, (s.metrics->>'$.clip_fraction')::DOUBLE AS clip_fraction
FROM train_steps s LEFT JOIN fed f USING (step)
WHERE s.kind = 'rl' ORDER BY s.step`;

/** Groups whose rewards are all equal: nothing was learned from them. */
export const ZERO_VARIANCE_GROUPS = `
WITH ${TRAINED}
SELECT step, scenario_id, group_id, count(*)::INTEGER AS rollouts, min(value) AS reward,
  bool_and(success) AS all_succeeded, mode(outcome) AS usual_outcome
FROM trained WHERE invalid IS NULL GROUP BY ALL
HAVING count(*) >= 2 AND max(value) - min(value) < ${EQUAL} ORDER BY step, scenario_id, group_id`;

/** The scenarios of a step, those first whose success is furthest below their own in the other steps. */
export const STEP = `
WITH ${TRAINED}, chosen AS (SELECT coalesce(:step, (
  SELECT step FROM (
    SELECT step, avg(success::INTEGER) - lag(avg(success::INTEGER)) OVER (ORDER BY step) AS change FROM trained GROUP BY step
  ) ORDER BY change NULLS LAST, step LIMIT 1
)) AS step), counts AS (${TURN_COUNTS}), here AS (
  SELECT step, scenario_id, count(*)::INTEGER AS rollouts, avg(success::INTEGER) AS success, avg(value) AS reward,
    (count(*) FILTER (WHERE invalid IS NOT NULL))::INTEGER AS invalid, sum(invalid_calls)::INTEGER AS invalid_calls,
    mode(outcome) AS usual_outcome
  FROM trained JOIN chosen USING (step) LEFT JOIN counts USING (rollout_id) GROUP BY ALL
), elsewhere AS (
  SELECT t.scenario_id, avg(t.success::INTEGER) AS success_in_other_steps
  FROM trained t, chosen c WHERE t.step <> c.step GROUP BY ALL
), before AS (
  SELECT avg(t.success::INTEGER) AS success_of_the_step_before FROM trained t, chosen c WHERE t.step = c.step - 1
)
FROM here LEFT JOIN elsewhere USING (scenario_id), before
ORDER BY success - coalesce(success_in_other_steps, success_of_the_step_before, 0), scenario_id`;

/** Judgements and rewards that could not be made. */
export const INVALID = `
SELECT 'judge' AS what, judge AS stage, purpose, ${masked("invalid")} AS pattern, count(*)::INTEGER AS rollouts,
  (SELECT count(*) FROM judgements a JOIN rollouts b USING (rollout_id)
    WHERE a.judge = j.judge AND b.purpose = r.purpose)::INTEGER AS of_rollouts,
  arg_min(invalid, j.seq) AS example
FROM judgements j JOIN rollouts r USING (rollout_id) WHERE invalid IS NOT NULL GROUP BY ALL
UNION ALL
SELECT 'reward', NULL, purpose, ${masked("invalid")}, count(*)::INTEGER,
  (SELECT count(*) FROM rewards a JOIN rollouts b USING (rollout_id) WHERE b.purpose = r.purpose)::INTEGER,
  arg_min(invalid, w.seq)
FROM rewards w JOIN rollouts r USING (rollout_id) WHERE invalid IS NOT NULL GROUP BY ALL
ORDER BY what, rollouts DESC, pattern`;
