/**
 * The ready-made queries of `hone query`: what the report shows, and what one asks next. One table; each is tested on a
 * stored run.
 * @module
 */
import { literal } from "../evaluated_rollouts.ts";
import { confusion, failureClusters } from "./failure_queries.ts";
import { evaluated, masked } from "./query_parts.ts";
import { INVALID, SIGNAL_PER_STEP, STEP, ZERO_VARIANCE_GROUPS } from "./signal_queries.ts";

/** One ready-made query. */
export interface ReadyQuery {
  /** What it tells, in one line. */
  about: string;
  /** SQL; a value is written as `:step` or `:scenario`, which is NULL if it is not given. */
  sql: string;
  /** The value that it takes. */
  takes?: "step" | "scenario";
}

/** Queries by name. */
export const READY_QUERIES: Record<string, ReadyQuery> = {
  success: {
    about: "Success of each policy on held-out scenarios, by sampling.",
    sql: `WITH ${evaluated()}
SELECT policy, sampling, count(*)::INTEGER AS rollouts, (count(*) FILTER (WHERE success))::INTEGER AS successes,
  avg(success::INTEGER) AS success, avg(reward) AS reward
FROM evaluated WHERE invalid IS NULL GROUP BY ALL ORDER BY policy, sampling`,
  },
  success_by_tag: {
    about: "The same for the scenarios of each tag.",
    sql: `WITH ${evaluated()}
SELECT tag, policy, sampling, count(DISTINCT scenario_id)::INTEGER AS scenarios, avg(success::INTEGER) AS success
FROM evaluated JOIN (SELECT DISTINCT scenario_id, unnest(tags) AS tag FROM scenarios) USING (scenario_id)
WHERE invalid IS NULL GROUP BY ALL ORDER BY tag, policy, sampling`,
  },
  success_by_tools: {
    about: "The same for the scenarios whose reference solutions call the same tools.",
    sql: `WITH ${evaluated()}, combined AS (
  SELECT DISTINCT scenario_id,
    array_to_string(list_sort(list_distinct(scenario->>'$.solution.calls[*].tool')), ', ') AS tools
  FROM scenarios
)
SELECT tools, policy, sampling, count(DISTINCT scenario_id)::INTEGER AS scenarios, avg(success::INTEGER) AS success
FROM evaluated JOIN combined USING (scenario_id) WHERE invalid IS NULL GROUP BY ALL ORDER BY tools, policy, sampling`,
  },
  gained_and_lost: {
    about: "Held-out scenarios whose success differs between the policies, by sampling.",
    sql: `WITH ${evaluated()}, rates AS (
  SELECT scenario_id, sampling, policy, avg(success::INTEGER) AS success FROM evaluated WHERE invalid IS NULL GROUP BY ALL
)
SELECT scenario_id, sampling, string_agg(policy || ' ' || round(success, 2), ', ' ORDER BY policy) AS success
FROM rates GROUP BY ALL HAVING max(rates.success) > min(rates.success) ORDER BY scenario_id, sampling`,
  },
  scenario: {
    about: "The rollouts of a held-out scenario side by side; by default, one that the policies differ on.",
    takes: "scenario",
    sql: `WITH ${evaluated()}, chosen AS (SELECT coalesce(:scenario, (
  SELECT scenario_id FROM evaluated WHERE invalid IS NULL GROUP BY scenario_id
  ORDER BY (max(success::INTEGER) > min(success::INTEGER)) DESC, scenario_id LIMIT 1
)) AS scenario_id), called AS (
  SELECT rollout_id, string_agg(tool || ' ' || arguments || ' → ' || outcome, '; ' ORDER BY turn, index) AS calls
  FROM tool_calls GROUP BY ALL
), judged AS (
  SELECT rollout_id, string_agg(judge || ': ' || coalesce(reason, invalid, abstain), '; ' ORDER BY judge) AS judgements
  FROM judgements GROUP BY ALL
)
SELECT scenario_id, policy, sampling, try, success, reward, outcome, calls, answer, judgements, rollout_id
FROM evaluated JOIN chosen USING (scenario_id) LEFT JOIN called USING (rollout_id) LEFT JOIN judged USING (rollout_id)
ORDER BY sampling, try, policy`,
  },
  failure_clusters: {
    about: "Failed held-out rollouts with equal causes: quoted texts, paths and numbers are masked.",
    sql: failureClusters(),
  },
  confusion: {
    about: "Which tool was called where the reference solution calls another one; NULL: none.",
    sql: confusion(),
  },
  signal_per_step: {
    about: "What each RL step learned from: groups without a signal, success, invalid calls, mismatch, staleness.",
    sql: SIGNAL_PER_STEP,
  },
  zero_variance_groups: {
    about: "Groups whose rewards are all equal: nothing was learned from them.",
    sql: ZERO_VARIANCE_GROUPS,
  },
  step: {
    about:
      "Why the success of an RL step fell: its scenarios, worst first; by default, of the step with the largest fall.",
    takes: "step",
    sql: STEP,
  },
  invalid: {
    about: "Judgements and rewards that could not be made, by cause.",
    sql: INVALID,
  },
  judge_agreement: {
    about:
      "How often two judges (people included) agree on whether a rollout scores at least 0.5, and their correlation.",
    sql: `WITH scores AS (
  SELECT rollout_id, judge, score FROM judgements WHERE score IS NOT NULL
  UNION ALL SELECT rollout_id, judge, avg(score) FROM labels GROUP BY ALL
)
SELECT a.judge AS judge, b.judge AS other, count(*)::INTEGER AS rollouts,
  avg(((a.score >= 0.5) = (b.score >= 0.5))::INTEGER) AS agreement,
  CASE WHEN stddev_pop(a.score) > 0 AND stddev_pop(b.score) > 0 THEN corr(a.score, b.score) END AS correlation
FROM scores a JOIN scores b ON a.rollout_id = b.rollout_id AND a.judge < b.judge
GROUP BY ALL ORDER BY judge, other`,
  },
  tool_errors: {
    about: "Calls that failed, by tool and cause.",
    sql: `SELECT server, tool, outcome, ${
      masked("text")
    } AS pattern, count(*)::INTEGER AS calls, arg_min(text, seq) AS example
FROM tool_calls WHERE outcome <> 'ok' GROUP BY ALL ORDER BY calls DESC, server, tool, outcome, pattern`,
  },
  slowest_tools: {
    about: "Seconds of calls, by tool.",
    sql: `SELECT server, tool, count(*)::INTEGER AS calls, quantile_cont(seconds, 0.5) AS median_secs,
  quantile_cont(seconds, 0.95) AS p95_secs, max(seconds) AS longest_secs, sum(seconds) AS total_secs
FROM tool_calls GROUP BY ALL ORDER BY total_secs DESC, server, tool`,
  },
  costs: {
    about: "Seconds, tokens and US dollars by what they were spent on.",
    sql: `SELECT 'rollouts, ' || purpose AS spent_on, count(*)::INTEGER AS times, sum(seconds) AS seconds,
  sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(output_tokens)::BIGINT AS output_tokens, NULL::DOUBLE AS usd
FROM rollouts LEFT JOIN (
  SELECT rollout_id, sum(prompt_tokens) AS prompt_tokens, sum(output_tokens) AS output_tokens FROM turns GROUP BY ALL
) USING (rollout_id) GROUP BY purpose
UNION ALL
SELECT CASE kind WHEN 'rl' THEN 'training, RL' ELSE 'training, warm start' END, count(*)::INTEGER, sum(seconds), NULL, NULL, NULL
FROM train_steps GROUP BY kind
UNION ALL
SELECT 'language model, ' || stage || CASE WHEN cached THEN ' (cached)' ELSE '' END, count(*)::INTEGER, sum(seconds),
  sum(prompt_tokens)::BIGINT, sum(output_tokens)::BIGINT, CASE WHEN count(*) = count(usd) THEN sum(usd) END
FROM llm_calls GROUP BY stage, cached
ORDER BY spent_on`,
  },
  validations: {
    about: "Success of the policies on validation, in order.",
    sql: `SELECT policy, policy_version, temperature, mean AS success, low, high, n AS rollouts, recorded_at
FROM evaluations WHERE split = 'validation' ORDER BY seq`,
  },
  starts: {
    about: "The starts of the run, how each ended, and on which machine.",
    sql: `SELECT s.started_at, s.resumed, e.status, e.ended_at, s.hone_version, s.machine
FROM run_starts s LEFT JOIN run_ends e ON e.seq > s.seq
  AND e.seq < coalesce((SELECT min(n.seq) FROM run_starts n WHERE n.seq > s.seq), 9223372036854775807)
ORDER BY s.seq`,
  },
};

/** A query's SQL with the value that it takes; without one, the query chooses. */
export function withValue({ sql, takes }: ReadyQuery, value: string | undefined): string {
  if (!takes) return sql;
  const written = value === undefined ? "NULL" : takes === "step" ? String(Number(value)) : literal(value);
  // Not by a replacement string, in which `$` has a meaning.
  return sql.replaceAll(`:${takes}`, () => written);
}
