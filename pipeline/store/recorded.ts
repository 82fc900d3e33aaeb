/**
 * Reads records back from a run's store exactly as they were written: trajectories with their token arrays, and
 * everything that resume needs to know about finished work.
 * @module
 */
import type {
  Catalog,
  CatalogServer,
  ChatMessage,
  EvaluationTarget,
  EventMap,
  EventName,
  Json,
  JsonObject,
  Judgement,
  Label,
  Outcome,
  RewardValue,
  RolloutRef,
  Scenario,
  Shortened,
  ToolCallRecord,
  ToolSpec,
  Trajectory,
  TurnRecord,
} from "../events.ts";
import type { Row, Store } from "./store.ts";

/** A stored reward with its success. */
export interface StoredReward {
  success: boolean;
  reward: RewardValue;
}

/** The latest attempt at a group: its finished rollouts in order of `try`. */
export interface StoredGroup {
  attempt: number;
  trajectories: Trajectory[];
  /** True if the group has a closing record. */
  completed: boolean;
}

/** The finished work of a run folder, which is not repeated. */
export interface Completed {
  /** Number of the last recorded optimiser step, including supervised steps, and its checkpoint. */
  step: number;
  /** Id of that checkpoint. */
  checkpoint: string | null;
  supervised_steps: number;
  policies: Map<string, { version: number; checkpoint: string }>;
  /** Every finished evaluation by `evaluationKey`. */
  evaluations: Map<string, EventMap["evaluation.completed"]>;
  /** Prompts of the prompt rung, by policy. */
  prompts: Map<string, EventMap["prompt.proposed"]>;
  /** Ids of the recorded scenarios. */
  scenarios: Set<string>;
  /** The catalog that the run started with, or last accepted; null before discovery. */
  catalog: Catalog | null;
  /**
   * By split, the longest total time of one policy's evaluations; only those of the ladder's policies count, and those on
   * training scenarios do not.
   */
  evaluation_secs: Map<string, number>;
  /** Finished exporters (stage ids). */
  exports: Map<string, EventMap["export.completed"]>;
  /** The data set of a hosted trainer, and its job; null if not recorded yet. */
  dataset: EventMap["dataset.ready"] | null;
  job: EventMap["job.submitted"] | null;
  /** Finished rollouts, sampled tokens, and seconds of all starts of the run so far. */
  spent: { rollouts: number; tokens: number; seconds: number };
}

/** Key that identifies an evaluation within a run. */
export function evaluationKey({ policy, split, temperature }: Omit<EvaluationTarget, "policy_version">): string {
  return `${policy}/${split}/${temperature}`;
}

/**
 * A query for the seconds from the first to the last record, summed over all starts; also correct for a killed one.
 * People may label rollouts long after the run's end.
 * @param until The last record that counts (`seq`).
 */
export function wallClock(until?: number): string {
  return `SELECT coalesce(sum(last - first), 0) / 1000 FROM (
    SELECT min(ms) AS first, max(ms) AS last
    FROM (SELECT epoch_ms(recorded_at) AS ms, sum(CASE WHEN type = 'run.started' THEN 1 ELSE 0 END) OVER (ORDER BY seq) AS start
      FROM events WHERE type <> 'label.given'${until === undefined ? "" : ` AND seq <= ${until}`})
    GROUP BY start)`;
}

/** Everything that resume reads from the store. */
export async function completed(store: Store): Promise<Completed> {
  const steps = await store.query("SELECT optimizer_step, kind, checkpoint FROM train_steps ORDER BY seq");
  const policies = await store.query("SELECT policy, policy_version, checkpoint FROM policies ORDER BY seq");
  const evaluations = (await store.query("SELECT * FROM evaluations ORDER BY seq")).map(evaluation);
  const scenarios = await store.query("SELECT scenario_id FROM scenarios");
  const [spent] = await store.query(
    `SELECT (SELECT count(*) FROM rollout_ends) AS rollouts,
      (SELECT coalesce(sum(output_tokens), 0) FROM turns) AS tokens, (${wallClock()}) AS seconds`,
  );
  const exports = await store.query("SELECT exporter, dir, proof FROM exports");
  const measured = await store.query(
    `SELECT split, max(total) AS secs FROM (
       SELECT split, sum(seconds) AS total FROM evaluations
         WHERE policy IN ('base', 'prompt', 'warm_start', 'tuned') AND split <> 'train' GROUP BY split, policy
     ) GROUP BY split`,
  );
  const last = steps.at(-1);
  return {
    step: last ? Number(last.optimizer_step) : 0,
    checkpoint: last ? String(last.checkpoint) : null,
    supervised_steps: steps.filter(({ kind }) => kind === "supervised").length,
    policies: new Map(
      policies.map(({ policy, policy_version, checkpoint }) => [
        String(policy),
        { version: Number(policy_version), checkpoint: String(checkpoint) },
      ]),
    ),
    evaluations: new Map(evaluations.map((one) => [evaluationKey(one), one])),
    prompts: await recordedPrompts(store),
    scenarios: new Set(scenarios.map((row) => String(row.scenario_id))),
    catalog: await recordedCatalog(store),
    evaluation_secs: new Map(measured.map(({ split, secs }) => [String(split), Number(secs)])),
    exports: new Map(exports.map((row) => {
      const [exporter, dir] = [String(row.exporter), String(row.dir)];
      return [exporter, { exporter, dir, proof: parsed(row.proof) as JsonObject }];
    })),
    dataset: await lastOf(store, "dataset.ready"),
    job: await lastOf(store, "job.submitted"),
    spent: {
      rollouts: Number(spent?.rollouts ?? 0),
      tokens: Number(spent?.tokens ?? 0),
      seconds: Number(spent?.seconds ?? 0),
    },
  };
}

/** The last event of a type that no table holds. */
export async function lastOf<K extends EventName>(store: Store, type: K): Promise<EventMap[K] | null> {
  const [row] = await store.query("SELECT payload FROM events WHERE type = $1 ORDER BY seq DESC LIMIT 1", [type]);
  return row ? parsed(row.payload) as EventMap[K] : null;
}

/** The scenarios that a stage produced, in order; null if the sources of the run have not all finished. */
export async function recordedScenarios(store: Store, stage: string): Promise<Scenario[] | null> {
  const [completed] = await store.query("SELECT seq FROM events WHERE type = 'scenarios.completed' LIMIT 1");
  if (!completed) return null;
  const rows = await store.query(
    "SELECT scenario FROM scenarios JOIN events USING (seq) WHERE source = $1 ORDER BY seq",
    [stage],
  );
  return rows.map(({ scenario }) => parsed(scenario) as Scenario);
}

/** All recorded scenarios; of one that was recorded twice, the last. */
export async function allScenarios(store: Store): Promise<Scenario[]> {
  const rows = await store.query("SELECT arg_max(scenario, seq) AS scenario FROM scenarios GROUP BY scenario_id");
  return rows.map(({ scenario }) => parsed(scenario) as Scenario);
}

/** Groups that were requested, in order. */
export async function groupIds(store: Store): Promise<string[]> {
  const rows = await store.query("SELECT group_id FROM rollout_requests GROUP BY group_id ORDER BY min(seq)");
  return rows.map(({ group_id }) => String(group_id));
}

/** Whether the file is a copy that is judged again (`hone rejudge`), of which nothing else is continued. */
export async function isRejudging(store: { query(sql: string): Promise<Row[]> }): Promise<boolean> {
  const [row] = await store.query("SELECT count(*) AS n FROM events WHERE type = 'rejudging.requested'");
  return Number(row?.n) > 0;
}

async function recordedPrompts(store: Store): Promise<Completed["prompts"]> {
  const rows = await store.query("SELECT * FROM prompts ORDER BY seq");
  return new Map(rows.map(({ policy, system_prompt, examples, made_of }) => [String(policy), {
    policy: String(policy),
    system_prompt: String(system_prompt),
    examples: parsed(examples) as ChatMessage[],
    made_of: parsed(made_of) as EventMap["prompt.proposed"]["made_of"],
  }]));
}

function evaluation(row: Row): EventMap["evaluation.completed"] {
  const { policy, policy_version, split, temperature, mean, low, high, n, seconds } = row;
  return {
    policy,
    policy_version,
    split,
    temperature,
    success: { mean, low, high, n },
    seconds,
  } as EventMap["evaluation.completed"];
}

/** The catalog that a run started with, or the last accepted change of it; null before discovery. */
export async function recordedCatalog(store: { query(sql: string): Promise<Row[]> }): Promise<Catalog | null> {
  const [accepted] = await store.query(
    "SELECT payload FROM events WHERE type = 'catalog.changed' AND (payload->>'found') = 'resumed' ORDER BY seq DESC LIMIT 1",
  );
  if (accepted) return (parsed(accepted.payload) as { catalog: Catalog }).catalog;
  const [found] = await store.query("SELECT ref FROM events WHERE type = 'catalog.discovered' ORDER BY seq LIMIT 1");
  if (!found) return null;
  // One event recorded them all: DuckDB keeps the order in which they were written.
  const servers = await store.query("SELECT details FROM servers");
  const tools = await store.query("SELECT spec FROM tools");
  return {
    servers: servers.map(({ details }) => parsed(details) as CatalogServer),
    tools: tools.map(({ spec }) => parsed(spec) as ToolSpec),
    schema_hash: String(found.ref),
  };
}

/** Requested rollouts without a closing record: an earlier process exited during them. */
export async function unfinished(store: Store): Promise<string[]> {
  const rows = await store.query("SELECT rollout_id FROM rollouts WHERE abandoned = 'unfinished'");
  return rows.map((row) => String(row.rollout_id));
}

/** The latest attempt at a group, or null if it was never requested. */
export async function storedGroup(store: Store, group_id: string): Promise<StoredGroup | null> {
  const [found] = await store.query("SELECT max(attempt) AS attempt FROM rollout_requests WHERE group_id = $1", [
    group_id,
  ]);
  if (found?.attempt === null || found?.attempt === undefined) return null;
  const attempt = Number(found.attempt);
  const trajectories = await trajectoriesOf(store, "r.group_id = $1 AND r.attempt = $2", [group_id, attempt]);
  const closed = await store.query("SELECT rollout_ids FROM groups WHERE group_id = $1", [group_id]);
  const ids = trajectories.map(({ rollout_id }) => rollout_id).join();
  return {
    attempt,
    trajectories,
    completed: closed.some(({ rollout_ids }) => (rollout_ids as string[]).join() === ids),
  };
}

/** A judge's judgements of these rollouts, by rollout; without those that something else than `made_by` made. */
export async function storedJudgements(store: Store, judge: string, rollout_ids: string[], made_by?: string) {
  const rows = await store.query(`SELECT * FROM judgements WHERE judge = $1 AND ${among("$2")} AND ${madeBy("$3")}`, [
    judge,
    JSON.stringify(rollout_ids),
    made_by ?? null,
  ]);
  return new Map(rows.map((row) => [String(row.rollout_id), judgement(row)]));
}

/** What people said of these rollouts: of each person the last label, in the order in which they were given. */
export async function storedLabels(
  store: { query(sql: string, params?: readonly unknown[]): Promise<Row[]> },
  rollout_ids: string[],
): Promise<Label[]> {
  const rows = await store.query(`SELECT * FROM labels WHERE ${among("$1")} ORDER BY seq`, [
    JSON.stringify(rollout_ids),
  ]);
  return rows.map(asLabel);
}

/** A row of `labels`. */
export function asLabel({ rollout_id, score, reason, labelled_by }: Row): Label {
  const by = typeof labelled_by === "string" ? { labelled_by } : {};
  return { rollout_id: String(rollout_id), score: Number(score), reason: String(reason), ...by };
}

function judgement(row: Row): Judgement {
  if (typeof row.invalid === "string") return { invalid: row.invalid };
  if (typeof row.abstain === "string") return { abstain: row.abstain };
  const parts = parsed(row.parts) as Record<string, number> | null;
  return { score: Number(row.score), reason: String(row.reason), ...(parts && { parts }) };
}

/** The rewards of these rollouts, by rollout; without those that something else than `made_by` made. */
export async function storedRewards(
  store: Store,
  rollout_ids: string[],
  made_by?: string,
): Promise<Map<string, StoredReward>> {
  const rows = await store.query(`SELECT * FROM rewards WHERE ${among("$1")} AND ${madeBy("$2")}`, [
    JSON.stringify(rollout_ids),
    made_by ?? null,
  ]);
  return new Map(rows.map((row) => {
    const reward = typeof row.invalid === "string"
      ? { invalid: row.invalid }
      : { value: Number(row.value), parts: parsed(row.parts) as Record<string, number> };
    return [String(row.rollout_id), { success: row.success === true, reward }];
  }));
}

/** SQL condition: the record was made by this, or by an earlier version of hone, which did not say by what. */
function madeBy(parameter: string): string {
  return `coalesce(made_by = ${parameter}, true)`;
}

/** What made the rewards of an evaluation's latest rollouts, by scenario; null where that is unknown. */
export async function rewardMakers(
  store: Store,
  { policy, split, temperature }: Omit<EvaluationTarget, "policy_version">,
): Promise<Map<string, Set<string | null>>> {
  const rows = await store.query(
    `SELECT r.scenario_id, w.made_by FROM (
       SELECT * FROM rollout_requests WHERE purpose = 'evaluation' AND policy = $1 AND split = $2 AND temperature = $3
       QUALIFY attempt = max(attempt) OVER (PARTITION BY group_id)
     ) r LEFT JOIN rewards w USING (rollout_id)`,
    [policy, split, temperature],
  );
  const makers = Map.groupBy(rows, (row) => String(row.scenario_id));
  return new Map([...makers].map(([id, made]) => [id, new Set(made.map((row) => row.made_by as string | null))]));
}

/** SQL condition: the rollout is in a list, given as JSON. */
function among(parameter: string): string {
  return `rollout_id IN (SELECT unnest(from_json(${parameter}, '["VARCHAR"]')))`;
}

/** Finished trajectories that match a condition, ordered by group and try. */
export async function trajectories(store: Store, rollout_ids: string[]): Promise<Trajectory[]> {
  return await trajectoriesOf(store, `r.${among("$1")}`, [JSON.stringify(rollout_ids)]);
}

async function trajectoriesOf(store: Store, where: string, params: unknown[]): Promise<Trajectory[]> {
  const rows = await store.query(
    `SELECT r.* FROM rollouts r WHERE ${where} AND r.abandoned IS NULL ORDER BY r.group_id, r.try`,
    params,
  );
  return await Promise.all(rows.map((row) => trajectory(store, row)));
}

async function trajectory(store: Store, row: Row): Promise<Trajectory> {
  const id = String(row.rollout_id);
  const turns = await store.query("SELECT * FROM turns WHERE rollout_id = $1 ORDER BY turn", [id]);
  const calls = await store.query("SELECT * FROM tool_calls WHERE rollout_id = $1 ORDER BY turn, index", [id]);
  const seen = await store.query("SELECT judge, observation FROM observations WHERE rollout_id = $1", [id]);
  return {
    ...reference(row),
    turns: turnsOf(turns),
    tool_calls: calls.map(toolCall),
    outcome: outcome(row),
    observations: Object.fromEntries(seen.map((one) => [String(one.judge), parsed(one.observation) as Json])),
    seconds: Number(row.seconds),
  };
}

function reference(row: Row): RolloutRef {
  const {
    rollout_id,
    group_id,
    scenario_id,
    purpose,
    split,
    temperature,
    policy,
    policy_version,
    step,
    seed,
    attempt,
  } = row;
  return {
    rollout_id,
    group_id,
    scenario_id,
    purpose,
    split,
    temperature,
    try: row.try,
    policy,
    policy_version,
    step: step ?? -1,
    seed,
    attempt,
  } as RolloutRef;
}

function outcome(row: Row): Outcome {
  const end = row.outcome as Outcome["end"];
  const answer = row.answer as string | null;
  return typeof row.cause === "string" ? { end, answer, cause: row.cause } : { end, answer };
}

function turnsOf(rows: Row[]): TurnRecord[] {
  let before = new Int32Array();
  return rows.map((row) => {
    const output = row.output_ids ? Int32Array.from(row.output_ids as number[]) : undefined;
    const turn: TurnRecord = {
      type: "turn",
      index: Number(row.turn),
      input: parsed(row.input) as ChatMessage[],
      text: String(row.text),
      tool_calls: parsed(row.tool_calls) as TurnRecord["tool_calls"],
      finish_reason: row.finish_reason as TurnRecord["finish_reason"],
      prompt_tokens: Number(row.prompt_tokens),
      output_tokens: Number(row.output_tokens),
      seconds: Number(row.seconds),
    };
    if (row.tools) turn.tools = row.tools as string[];
    if (row.shortened) turn.shortened = parsed(row.shortened) as Shortened[];
    if (typeof row.policy_version === "number") turn.policy_version = row.policy_version;
    if (typeof row.reasoning === "string") turn.reasoning = row.reasoning;
    if (typeof row.invalid_call === "string") turn.invalid_call = row.invalid_call;
    if (row.prompt_suffix) {
      const suffix = row.prompt_suffix as number[];
      turn.prompt_token_ids = Int32Array.from([...before.subarray(0, Number(row.prompt_prefix)), ...suffix]);
      before = Int32Array.from([...turn.prompt_token_ids, ...output ?? []]);
    }
    if (output) turn.output_token_ids = output;
    if (row.logprobs) turn.logprobs = Float32Array.from(row.logprobs as number[]);
    return turn;
  });
}

function toolCall(row: Row): ToolCallRecord {
  return {
    type: "tool_call",
    turn: Number(row.turn),
    index: Number(row.index),
    server: String(row.server),
    tool: String(row.tool),
    arguments: parsed(row.arguments) as JsonObject,
    outcome: row.outcome as ToolCallRecord["outcome"],
    text: String(row.text),
    result: parsed(row.result) as Json,
    truncated: row.truncated === true,
    seconds: Number(row.seconds),
  };
}

function parsed(cell: unknown): unknown {
  return typeof cell === "string" ? JSON.parse(cell) : null;
}
