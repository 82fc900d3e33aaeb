/**
 * What the verdict says of the run besides its rollouts: which checkpoint and which policy were chosen and why, what it
 * cost, and when it reached `evaluate.target`. Reads only.
 * @module
 */
import { wallClock } from "../store/recorded.ts";
import { plain } from "./sentence.ts";
import type {
  CheckpointSelection,
  ExportChoice,
  LlmCost,
  PolicySummary,
  Queryable,
  RunCosts,
  Sampling,
  TimeToTarget,
  Verdict,
  VerdictConfig,
} from "./verdict_types.ts";

type Row = Record<string, unknown>;

/** The run's facts; those that do not apply are left out. */
export async function runFacts(
  store: Queryable,
  config: VerdictConfig,
): Promise<Pick<Verdict, "selection" | "costs" | "time_to_target"> & { exported?: string }> {
  const selection = await checkpointSelection(store, config);
  const time_to_target = await timeToTarget(store, config);
  const [ladder] = await store.query(
    `SELECT payload FROM events WHERE type = 'ladder.completed' AND EXISTS (FROM train_steps)
      ORDER BY seq DESC LIMIT 1`,
  );
  const exported = ladder ? (JSON.parse(String(ladder.payload)) as { policy: string }).policy : undefined;
  return {
    ...(exported && { exported }),
    ...(selection && { selection }),
    costs: await runCosts(store),
    ...(time_to_target && { time_to_target }),
  };
}

/** The checkpoints that validations during RL chose from. */
async function checkpointSelection(store: Queryable, { train }: VerdictConfig): Promise<CheckpointSelection | null> {
  const rows = await store.query(`
    SELECT policy, CAST(policy[6:] AS INTEGER) AS step, temperature > 0 AS sampled,
      arg_max({ mean: mean, low: low, high: high, n: n }, seq) AS success,
      (SELECT arg_max(p.checkpoint, p.seq) FROM policies p WHERE p.policy = e.policy) AS checkpoint,
      (SELECT arg_max(p.checkpoint, p.seq) FROM policies p WHERE p.policy = 'tuned') AS tuned
    FROM evaluations e
    WHERE split = 'validation' AND regexp_full_match(policy, 'step-[0-9]{1,9}')
      AND EXISTS (FROM train_steps WHERE kind = 'rl')
    GROUP BY ALL ORDER BY step, sampled`);
  if (rows.length === 0) return null;
  const checkpoints = [...Map.groupBy(rows, ({ policy }) => String(policy))].map(([policy, mine]) => {
    const { step, checkpoint, tuned } = mine[0]!;
    return {
      policy,
      step: Number(step),
      checkpoint: String(checkpoint),
      success: Object.fromEntries(mine.map(({ sampled, success }) => [samplingOf(sampled), interval(success)])),
      chosen: tuned !== null && checkpoint === tuned,
    };
  });
  return { rule: train?.choose ?? "highest", checkpoints };
}

function samplingOf(sampled: unknown): Sampling {
  return sampled === true ? "sampled" : "greedy";
}

/** Intervals come as an object, or, of a live run, as JSON. */
function interval(value: unknown) {
  const of = (typeof value === "string" ? JSON.parse(value) : value) as Record<string, unknown>;
  const { mean, low, high, n } = of;
  return { mean: Number(mean), low: Number(low), high: Number(high), n: Number(n) };
}

async function runCosts(store: Queryable): Promise<RunCosts> {
  const stages = await store.query(`
    SELECT stage, count(*) AS requests, count(*) FILTER (WHERE cached) AS cached,
      sum(prompt_tokens) FILTER (WHERE NOT cached) AS prompt_tokens,
      sum(output_tokens) FILTER (WHERE NOT cached) AS output_tokens,
      sum(usd) AS usd, count(*) FILTER (WHERE NOT cached AND usd IS NULL) AS unpriced
    FROM llm_calls GROUP BY stage ORDER BY stage`);
  const [spent] = await store.query(`
    SELECT (SELECT sum(seconds) FROM train_steps) / 3600 AS training_hours,
      (SELECT sum(seconds) FROM rollout_ends) / 3600 AS rollout_hours,
      (SELECT count(*) FROM rollout_ends) AS rollouts`);
  const by_stage = Object.fromEntries(stages.map((row) => [String(row.stage), llmCost(row)]));
  return {
    llm: Object.values(by_stage).reduce(plus, llmCost({})),
    llm_by_stage: by_stage,
    training_hours: number(spent?.training_hours),
    rollout_hours: number(spent?.rollout_hours),
    rollouts: number(spent?.rollouts),
  };
}

function llmCost({ requests, cached, prompt_tokens, output_tokens, usd, unpriced }: Row): LlmCost {
  return {
    requests: number(requests),
    cached: number(cached),
    prompt_tokens: number(prompt_tokens),
    output_tokens: number(output_tokens),
    usd: number(unpriced) > 0 ? null : number(usd),
  };
}

function plus(a: LlmCost, b: LlmCost): LlmCost {
  return {
    requests: a.requests + b.requests,
    cached: a.cached + b.cached,
    prompt_tokens: a.prompt_tokens + b.prompt_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    usd: a.usd === null || b.usd === null ? null : a.usd + b.usd,
  };
}

/** When an evaluation on validation, of any policy, under the verdict's sampling first reached `evaluate.target`. */
async function timeToTarget(store: Queryable, { evaluate }: VerdictConfig): Promise<TimeToTarget | null> {
  const { target, sampling } = evaluate;
  if (target === undefined) return null;
  const sampled = (sampling[0] ?? "greedy") === "sampled";
  const [first] = await store.query(`
    SELECT seq, policy, mean, low, high, n FROM evaluations
    WHERE split = 'validation' AND (temperature > 0) = ${sampled} AND n > 0 AND mean >= ${Number(target)}
      AND policy NOT IN ('nothing', 'reference')
    ORDER BY seq LIMIT 1`);
  if (!first) return { target, reached: null };
  const until = Number(first.seq);
  const [spent] = await store.query(
    `SELECT (${wallClock(until)}) AS seconds, (SELECT count(*) FROM rollout_ends WHERE seq < ${until}) AS rollouts`,
  );
  return {
    target,
    reached: {
      policy: String(first.policy),
      success: interval(first),
      seconds: number(spent?.seconds),
      rollouts: number(spent?.rollouts),
    },
  };
}

function number(value: unknown): number {
  return Number(value ?? 0);
}

/** Which policy is exported, and why; also where the warm start is nominally better than the tuned policy. */
export function exportChoice(
  policy: string,
  { evaluate }: VerdictConfig,
  { policies, validation, split }: Pick<Verdict, "policies" | "validation" | "split">,
): ExportChoice {
  const better = nominallyBetter(policies, split, validation?.policies);
  if (policy === "warm_start" && policies.tuned) {
    return { policy, reason: "its success on validation is higher than that of tuned (`evaluate.export`)." };
  }
  if (policy !== "tuned" || !better) return { policy, reason: "it is the result of the last rung." };
  const why = evaluate.export === "best_on_validation"
    ? "on validation it is not"
    : "`evaluate.export` is `tuned`; with `best_on_validation` the success on validation decides";
  const reason = `it is the result of the last rung, although the warm start is nominally better ${better}; ${why}.`;
  return { policy, reason, better_elsewhere: "warm_start" };
}

/** Where the warm start has the higher success, in words; undefined if nowhere. */
function nominallyBetter(
  { warm_start, tuned }: Record<string, PolicySummary>,
  split: string,
  validated: Record<string, { mean: number; n: number }> | undefined,
): string | undefined {
  const where = split === "heldout" ? "held-out" : split;
  const found = (["greedy", "sampled"] as const).flatMap((sampling) => {
    const [before, after] = [warm_start?.[`${sampling}_success`], tuned?.[`${sampling}_success`]];
    return told(before, after, `on ${where} scenarios, ${sampling}`);
  });
  found.push(...told(validated?.warm_start, validated?.tuned, "on validation"));
  return found.length > 0 ? found.join(", and ") : undefined;
}

function told(
  before: { mean: number; n: number } | undefined,
  after: { mean: number; n: number } | undefined,
  where: string,
): string[] {
  if (!before || !after || before.n === 0 || after.n === 0 || before.mean <= after.mean) return [];
  return [`${where} (${plain(before.mean)} against ${plain(after.mean)})`];
}
