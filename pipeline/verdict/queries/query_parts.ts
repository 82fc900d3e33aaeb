/**
 * SQL that several ready-made queries share. All of it reads the tables and views of `store/`.
 * @module
 */
import type { Split } from "../../events.ts";
import { literal } from "../evaluated_rollouts.ts";

/** The rollouts of the evaluations on a split that have a reward: the last attempt of each, as in the verdict. */
export const evaluated = (split: Split = "heldout") =>
  `evaluated AS (
  SELECT r.rollout_id, r.policy, r.scenario_id, r.try, CASE WHEN r.temperature > 0 THEN 'sampled' ELSE 'greedy' END AS sampling,
    r.outcome, r.cause, r.answer, r.seconds, CASE WHEN w.invalid IS NULL THEN w.success END AS success,
    w.value AS reward, w.invalid
  FROM rollouts r JOIN rewards w USING (rollout_id)
  WHERE r.purpose = 'evaluation' AND r.split = ${literal(split)}
  QUALIFY row_number() OVER (
    PARTITION BY r.policy, r.scenario_id, r.temperature > 0, r.try ORDER BY r.policy_version DESC, r.attempt DESC, r.seq DESC
  ) = 1
)`;

/** Those that count and did not succeed; needs `evaluated`. */
export const FAILED = `failed AS (
  FROM evaluated WHERE invalid IS NULL AND NOT success AND policy NOT IN ('nothing', 'reference')
)`;

/** The rollouts of RL, the last attempt of each group, with their rewards. */
export const TRAINED = `trained AS (
  SELECT r.rollout_id, r.group_id, r.scenario_id, r.step, r.policy, r.outcome, w.value, w.invalid,
    CASE WHEN w.invalid IS NULL THEN w.success END AS success
  FROM (FROM rollouts WHERE purpose = 'train' AND step IS NOT NULL
    QUALIFY attempt = max(attempt) OVER (PARTITION BY group_id)) r
  JOIN rewards w USING (rollout_id)
)`;

/** How closely the rewards of a group may agree before it has no learning signal (see run/online/advantage.ts). */
export const EQUAL = 1e-9;

/** Characters of a text that are compared. */
export const COMPARED_TEXT = 300;

/**
 * Replaces what differs between two texts that mean the same: quoted words, paths, file names, numbers. Further characters
 * than the compared ones are left out.
 */
export function masked(text: string): string {
  const steps: [pattern: string, by: string][] = [
    [`"[^"]*"|\`[^\`]*\``, `"…"`],
    [`(^|[\\s(:,=])'[^']*'`, `\\1"…"`],
    [`[~\\w.-]*(/[\\w.@-]+)+/?`, `<path>`],
    [`\\b[\\w-]+\\.[A-Za-z]\\w{0,4}\\b`, `<file>`],
    [`[0-9]+`, `#`],
  ];
  return steps.reduce(
    (sql, [pattern, by]) => `regexp_replace(${sql}, ${literal(pattern)}, ${literal(by)}, 'g')`,
    `substr(${text}, 1, ${COMPARED_TEXT})`,
  );
}
