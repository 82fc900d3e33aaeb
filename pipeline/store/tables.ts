/**
 * The tables of `run.duckdb`: columns in the order of their appender, each with its type and its comment, which the
 * database holds too. The file is append-only: what changes later (a finished rollout, a second judgement) is a view
 * (`views.ts`) over several records.
 * @module
 */
import type { EventName } from "../events.ts";

/**
 * Incremented when a table changes in a way that older versions of hone cannot read; `upgrade.ts` reads older files.
 * A new column needs no new version: it is appended to its table.
 */
export const SCHEMA_VERSION = 2;

/** Column types for appending. A TIMESTAMP is in UTC; its cells are milliseconds since the epoch. */
export type ColumnType =
  | "VARCHAR"
  | "BIGINT"
  | "INTEGER"
  | "DOUBLE"
  | "BOOLEAN"
  | "TIMESTAMP"
  | "JSON"
  | "INTEGER[]"
  | "FLOAT[]"
  | "VARCHAR[]";

/** A value of a row; arrays become lists. */
export type Cell = string | number | boolean | null | ArrayLike<number> | readonly string[];

/** A column's type and comment. */
export type Column = readonly [ColumnType, string];

/** One table. */
export interface Table {
  about: string;
  /** The event that its rows record; none for tables of another kind. */
  event?: EventName;
  columns: Record<string, Column>;
}

/** A table whose rows record an event. */
function records<C extends Record<string, Column>>(event: EventName, about: string, columns: C) {
  const seq: Column = ["BIGINT", "The event that this row records (events.seq); its order is the run's."];
  return { about, event, columns: { seq, ...columns } };
}

// One name has one meaning: these columns are in several tables.
const ROLLOUT_ID: Column = ["VARCHAR", "The rollout."];
const GROUP_ID: Column = ["VARCHAR", "The group: the rollouts of one scenario that are compared with each other."];
const SCENARIO_ID: Column = ["VARCHAR", "The scenario."];
const SPLIT: Column = ["VARCHAR", "train, validation or heldout."];
const TEMPERATURE: Column = ["DOUBLE", "Sampling temperature; 0 is greedy."];
const POLICY: Column = ["VARCHAR", "The policy: base, prompt, warm_start, step-1, step-2, …, tuned."];
const POLICY_VERSION: Column = ["INTEGER", "Version of the policy's weights; 0 is the base model."];
const RL_STEP: Column = ["INTEGER", "RL step, from 1 as in the log; NULL outside of RL."];
const STEP: Column = ["INTEGER", "Step of its kind, from 1 as in the log."];
const OPTIMIZER_STEP: Column = ["INTEGER", "The step's number among the steps of all kinds, from 1."];
const JUDGE: Column = ["VARCHAR", "The judge (stage id)."];
const SERVER: Column = ["VARCHAR", "The server, as in the pipeline file."];
const RECORDED_AT: Column = ["TIMESTAMP", "When it was recorded, in UTC."];
const CHECKPOINT: Column = ["VARCHAR", "The checkpoint: a folder of checkpoints/, or the id of a hosted trainer."];
const MADE_BY: Column = [
  "VARCHAR",
  "Digest of what made it besides the rollout; a resumed run makes it again if that has changed.",
];
const INVALID: Column = ["VARCHAR", "Why the rollout could not be judged; NULL if it could."];

/** Tables by name. */
export const TABLES = {
  meta: {
    about: "Version of this file.",
    columns: { schema_version: ["INTEGER", "Increases when older versions of hone can no longer read the file."] },
  },
  events: {
    about: "Everything that happened, in order. The content of most events is in the table named there, not here.",
    columns: {
      seq: ["BIGINT", "Number of the event, from 1, without gaps."],
      recorded_at: RECORDED_AT,
      source: ["VARCHAR", "Stage, or part of hone, that published the event."],
      type: ["VARCHAR", "Name of the event, such as rollout.completed."],
      ref: ["VARCHAR", "What the event is about: ids, separated by /."],
      payload: ["JSON", "The event's content if no other table holds it."],
      cause: ["BIGINT", "The event whose handler published this one (seq); NULL if there is none."],
    },
  },
  run_starts: records("run.started", "The run's starts: the first one, and one for each time it was resumed.", {
    run_id: ["VARCHAR", "The run's id; it stays the same when the folder is moved or renamed."],
    name: ["VARCHAR", "Name of the pipeline."],
    seed: ["BIGINT", "Seed of the pipeline."],
    hone_version: ["VARCHAR", "Version of hone."],
    started_at: ["TIMESTAMP", "When it started, in UTC."],
    resumed: ["BOOLEAN", "False for the first start."],
    machine: ["JSON", "The machine: cpu, cores, memory_bytes, os."],
  }),
  run_ends: records("run.ended", "How the run's starts ended; a killed one has no row.", {
    run_id: ["VARCHAR", "The run's id."],
    ended_at: ["TIMESTAMP", "When it ended, in UTC."],
    status: ["VARCHAR", "completed, failed, interrupted (Ctrl-C), cancelled (hone cancel) or paused (hone pause)."],
    sentence: ["VARCHAR", "Sentence of the verdict, if there is one."],
  }),
  servers: records("catalog.discovered", "The servers that discovery found.", {
    server: SERVER,
    transport: ["VARCHAR", "stdio, http or sse."],
    protocol: ["VARCHAR", "Version of the protocol."],
    implementation: ["JSON", "Name and version of the server's program."],
    details: ["JSON", "Everything that discovery found, tools excluded."],
    schema_hash: ["VARCHAR", "Hash of all names and schemas of all tools."],
  }),
  tools: records("catalog.discovered", "The tools that discovery found.", {
    server: SERVER,
    tool: ["VARCHAR", "Name of the tool on its server."],
    model_name: ["VARCHAR", "Name of the tool that the model sees."],
    description: ["VARCHAR", "Its description."],
    input_schema: ["JSON", "JSON Schema of its arguments."],
    annotations: ["JSON", "What the server says about its effects."],
    tokens: ["INTEGER", "Estimated tokens of its definition."],
    spec: ["JSON", "The whole definition."],
  }),
  scenarios: records("scenario.produced", "The scenarios.", {
    scenario_id: SCENARIO_ID,
    split: SPLIT,
    task: ["VARCHAR", "The task for the agent."],
    tags: ["VARCHAR[]", "Its tags."],
    scenario: ["JSON", "The whole scenario."],
  }),
  rollout_requests: records("rollout.requested", "Rollouts that were started; `rollouts` adds how they ended.", {
    rollout_id: ROLLOUT_ID,
    group_id: GROUP_ID,
    scenario_id: SCENARIO_ID,
    purpose: ["VARCHAR", "train, evaluation or demonstration (the replay of a reference solution)."],
    split: SPLIT,
    temperature: TEMPERATURE,
    try: ["INTEGER", "Which attempt at the scenario under the same policy it is, from 0."],
    policy: POLICY,
    policy_version: POLICY_VERSION,
    step: RL_STEP,
    seed: ["BIGINT", "Seed of the rollout."],
    attempt: ["INTEGER", "From 1; higher if the group was run again after the run was resumed."],
    requested_at: ["TIMESTAMP", "When it was requested, in UTC."],
  }),
  rollout_ends: records("rollout.completed", "How rollouts ended; one that was interrupted has no row.", {
    rollout_id: ROLLOUT_ID,
    outcome: ["VARCHAR", "How it ended: answered, max_turns, timeout, …"],
    answer: ["VARCHAR", "The agent's closing answer."],
    cause: ["VARCHAR", "Why it ended without an answer."],
    seconds: ["DOUBLE", "Duration."],
    ended_at: ["TIMESTAMP", "When it ended, in UTC."],
  }),
  rollout_abandoned: records("rollout.abandoned", "Rollouts that an earlier start of the run did not finish.", {
    rollout_id: ROLLOUT_ID,
    abandoned: ["VARCHAR", "Why it was not finished."],
  }),
  groups: records("group.completed", "Groups whose rollouts have all ended.", {
    group_id: GROUP_ID,
    scenario_id: SCENARIO_ID,
    step: RL_STEP,
    rollout_ids: ["VARCHAR[]", "Its rollouts, in order of `try`."],
  }),
  turns: records("turn.completed", "Replies of the model.", {
    rollout_id: ROLLOUT_ID,
    turn: ["INTEGER", "Number of the turn in its rollout, from 0."],
    input: ["JSON", "Messages added to the conversation before the reply."],
    text: ["VARCHAR", "The model's reply, as sampled."],
    reasoning: ["VARCHAR", "Reasoning that the endpoint returned separately."],
    tool_calls: ["JSON", "The calls in the reply."],
    invalid_call: ["VARCHAR", "Why the reply is no valid call, although it looks like one; NULL otherwise."],
    prompt_prefix: ["INTEGER", "Number of tokens of the prompt that repeat the previous turn's prompt and reply."],
    prompt_suffix: ["INTEGER[]", "The prompt's further tokens."],
    output_ids: ["INTEGER[]", "Tokens of the reply, as sampled."],
    logprobs: ["FLOAT[]", "Log-probability of each of them when it was sampled."],
    finish_reason: ["VARCHAR", "stop, length, tool_calls or error."],
    prompt_tokens: ["INTEGER", "Number of tokens of the prompt."],
    output_tokens: ["INTEGER", "Number of tokens of the reply."],
    seconds: ["DOUBLE", "Duration of the request."],
    tools: ["VARCHAR[]", "Offered tools, where they changed: on the first turn, and on later ones that differ."],
    policy_version: ["INTEGER", "Version of the weights that sampled the reply, if the endpoint reports it."],
    shortened: ["JSON", "Earlier messages that were shortened to fit the context: index, characters before and after."],
  }),
  tool_calls: records("tool.called", "Calls of tools.", {
    rollout_id: ROLLOUT_ID,
    turn: ["INTEGER", "The turn that made the call (turns.turn), from 0."],
    index: ["INTEGER", "Which call of its turn it is, from 0."],
    server: SERVER,
    tool: ["VARCHAR", "Name of the tool on its server."],
    arguments: ["JSON", "Arguments of the call."],
    outcome: [
      "VARCHAR",
      "ok, tool_error, protocol_error, timeout, server_died, unknown_tool, invalid_arguments, denied or cancelled.",
    ],
    text: ["VARCHAR", "The result as text for the model."],
    result: [
      "JSON",
      "The server's result, or its error; `cut` in it describes the whole, if only its beginning is kept.",
    ],
    truncated: ["BOOLEAN", "True if the text was cut to agent.max_result_chars."],
    seconds: ["DOUBLE", "Duration of the call."],
  }),
  observations: records("observation.made", "What judges saw of an environment before it was released.", {
    rollout_id: ROLLOUT_ID,
    judge: JUDGE,
    observation: ["JSON", "What the judge saw."],
  }),
  judgement_records: records("judgement.made", "All judgements; `judgements` has only the last one of each judge.", {
    rollout_id: ROLLOUT_ID,
    judge: JUDGE,
    score: ["DOUBLE", "From 0 to 1; NULL if the judge abstained or could not judge."],
    reason: ["VARCHAR", "The judge's reason for the score."],
    parts: ["JSON", "Named parts of the score."],
    invalid: INVALID,
    abstain: ["VARCHAR", "Why the judge does not apply to the rollout; NULL if it does."],
    made_by: MADE_BY,
  }),
  reward_records: records("reward.shaped", "All rewards; `rewards` has only the last one of each rollout.", {
    rollout_id: ROLLOUT_ID,
    group_id: GROUP_ID,
    value: ["DOUBLE", "The reward; NULL if the rollout could not be judged."],
    parts: ["JSON", "Its named parts."],
    invalid: INVALID,
    success: [
      "BOOLEAN",
      "Whether every decisive judge scored at least evaluate.success_at; false if `invalid` says why that is unknown.",
    ],
    made_by: MADE_BY,
  }),
  label_records: records("label.given", "All labels that people gave (hone label); `labels` has only the last ones.", {
    rollout_id: ROLLOUT_ID,
    judge: ["VARCHAR", "human."],
    score: ["DOUBLE", "From 0 to 1: 1 for a thumb up, 0 for a thumb down."],
    reason: ["VARCHAR", "Why; empty if it was not said."],
    labelled_by: ["VARCHAR", "Who said so; NULL if it was not said."],
    recorded_at: RECORDED_AT,
  }),
  llm_calls: records("llm.called", "Requests of stages, such as judges, to language models.", {
    stage: ["VARCHAR", "The stage that asked (id)."],
    api: ["VARCHAR", "openai or anthropic."],
    model: ["VARCHAR", "The requested model."],
    key: ["VARCHAR", "Hash of the request: equal requests have equal keys."],
    cached: ["BOOLEAN", "True if the reply comes from the cache."],
    outcome: ["VARCHAR", "ok, an error code, or cancelled."],
    prompt_tokens: ["INTEGER", "Tokens of the prompt."],
    output_tokens: ["INTEGER", "Tokens of the reply."],
    seconds: ["DOUBLE", "Duration of all tries."],
    tries: ["INTEGER", "Number of HTTP requests; 0 if none was sent."],
    request: ["JSON", "Content of the request."],
    reply: ["JSON", "The reply, or the error."],
    recorded_at: RECORDED_AT,
    usd: ["DOUBLE", "Cost in US dollars at the price in the settings, 0 if nothing was sent; NULL without a price."],
  }),
  train_steps: records("train.stepped", "Steps of the optimiser.", {
    kind: ["VARCHAR", "supervised (warm start) or rl."],
    step: STEP,
    optimizer_step: OPTIMIZER_STEP,
    loss: ["DOUBLE", "Loss; NULL for a step without rows."],
    metrics: ["JSON", "What the trainer and the batch's rollouts report."],
    seconds: ["DOUBLE", "Duration."],
    checkpoint: CHECKPOINT,
    staleness: ["INTEGER", "Policy versions between the oldest weights that sampled the batch and those trained."],
    recorded_at: RECORDED_AT,
  }),
  policies: records("policy.published", "Policies that were served.", {
    policy: POLICY,
    policy_version: POLICY_VERSION,
    model: ["VARCHAR", "Name of the model at its endpoint."],
    checkpoint: CHECKPOINT,
    recorded_at: RECORDED_AT,
  }),
  prompts: records("prompt.proposed", "Prompts that the prompt rung tried, and the one that it chose.", {
    policy: ["VARCHAR", "The policy: prompt-0 (the pipeline's own prompt), prompt-1, …; prompt is the chosen one."],
    system_prompt: ["VARCHAR", "Its system prompt."],
    examples: ["JSON", "The messages between the system prompt and the task."],
    made_of: ["JSON", "Where its instructions come from, and the scenarios whose solutions are its examples."],
    recorded_at: RECORDED_AT,
  }),
  evaluations: records("evaluation.completed", "Success of a policy on a split.", {
    policy: POLICY,
    policy_version: POLICY_VERSION,
    split: SPLIT,
    temperature: TEMPERATURE,
    mean: ["DOUBLE", "Share of the judged rollouts that succeeded."],
    low: ["DOUBLE", "Lower end of its 95 % interval."],
    high: ["DOUBLE", "Upper end of its 95 % interval."],
    n: ["INTEGER", "Number of judged rollouts."],
    seconds: ["DOUBLE", "Duration."],
    recorded_at: RECORDED_AT,
  }),
  exports: records("export.completed", "Finished exports.", {
    exporter: ["VARCHAR", "The exporter (stage id)."],
    dir: ["VARCHAR", "Its folder, relative to the run's."],
    proof: ["JSON", "Checks that the files are what they claim to be."],
    recorded_at: RECORDED_AT,
  }),
  metrics: records("metric.recorded", "Single figures over the steps.", {
    name: ["VARCHAR", "Name of the figure."],
    value: ["DOUBLE", "Its value."],
    kind: ["VARCHAR", "Kind of the step: supervised or rl."],
    step: STEP,
    optimizer_step: OPTIMIZER_STEP,
    recorded_at: RECORDED_AT,
  }),
} as const satisfies Record<string, Table>;

/** Name of a table. */
export type TableName = keyof typeof TABLES;

/** Columns of a table, in order. */
export function columnsOf(table: TableName): [string, Column][] {
  return Object.entries<Column>(TABLES[table].columns);
}
