/**
 * The tables of `run.duckdb`, and the mapping of events to rows. The events table stores references (`events.ref`), not
 * copies. The file is append-only: finished rollouts are a view over requests and closing records.
 * @module
 */
import type { Envelope, EventMap, Json } from "../events.ts";
import { commonPrefix, joined } from "./token_prefix.ts";

/** Incremented when a table changes in a way that older versions of hone cannot read. */
export const SCHEMA_VERSION = 1;

/** Column types for appending. */
export type ColumnType =
  | "VARCHAR"
  | "BIGINT"
  | "INTEGER"
  | "DOUBLE"
  | "BOOLEAN"
  | "JSON"
  | "INTEGER[]"
  | "FLOAT[]"
  | "VARCHAR[]";

/** A value of a row; arrays become lists. */
export type Cell = string | number | boolean | null | ArrayLike<number> | readonly string[];

/** Tables by name, columns in order. */
export const TABLES = {
  meta: { schema_version: "INTEGER" },
  events: {
    seq: "BIGINT",
    at: "BIGINT",
    source: "VARCHAR",
    type: "VARCHAR",
    ref: "VARCHAR",
    payload: "JSON",
    cause: "BIGINT",
  },
  run_starts: {
    run_id: "VARCHAR",
    name: "VARCHAR",
    seed: "BIGINT",
    hone_version: "VARCHAR",
    started_at: "BIGINT",
    resumed: "BOOLEAN",
  },
  run_ends: { run_id: "VARCHAR", ended_at: "BIGINT", status: "VARCHAR", sentence: "VARCHAR" },
  servers: {
    server: "VARCHAR",
    transport: "VARCHAR",
    protocol: "VARCHAR",
    implementation: "JSON",
    details: "JSON",
    schema_hash: "VARCHAR",
  },
  tools: {
    server: "VARCHAR",
    name: "VARCHAR",
    model_name: "VARCHAR",
    description: "VARCHAR",
    input_schema: "JSON",
    annotations: "JSON",
    tokens: "INTEGER",
    spec: "JSON",
  },
  scenarios: { scenario_id: "VARCHAR", split: "VARCHAR", task: "VARCHAR", tags: "VARCHAR[]", scenario: "JSON" },
  rollout_requests: {
    rollout_id: "VARCHAR",
    group_id: "VARCHAR",
    scenario_id: "VARCHAR",
    purpose: "VARCHAR",
    split: "VARCHAR",
    temperature: "DOUBLE",
    try: "INTEGER",
    policy: "VARCHAR",
    policy_version: "INTEGER",
    step: "INTEGER",
    seed: "BIGINT",
    attempt: "INTEGER",
    requested_at: "BIGINT",
  },
  rollout_ends: {
    rollout_id: "VARCHAR",
    outcome_end: "VARCHAR",
    answer: "VARCHAR",
    cause: "VARCHAR",
    seconds: "DOUBLE",
    ended_at: "BIGINT",
  },
  rollout_abandoned: { rollout_id: "VARCHAR", abandoned: "VARCHAR" },
  groups: { group_id: "VARCHAR", scenario_id: "VARCHAR", step: "INTEGER", rollout_ids: "VARCHAR[]" },
  turns: {
    rollout_id: "VARCHAR",
    index: "INTEGER",
    input: "JSON",
    text: "VARCHAR",
    reasoning: "VARCHAR",
    tool_calls: "JSON",
    invalid_call: "VARCHAR",
    prompt_prefix: "INTEGER",
    prompt_suffix: "INTEGER[]",
    output_ids: "INTEGER[]",
    logprobs: "FLOAT[]",
    finish_reason: "VARCHAR",
    prompt_tokens: "INTEGER",
    output_tokens: "INTEGER",
    seconds: "DOUBLE",
    tools: "VARCHAR[]",
    policy_version: "INTEGER",
    shortened: "JSON",
  },
  tool_calls: {
    rollout_id: "VARCHAR",
    turn: "INTEGER",
    index: "INTEGER",
    server: "VARCHAR",
    tool: "VARCHAR",
    arguments: "JSON",
    outcome: "VARCHAR",
    text: "VARCHAR",
    result: "JSON",
    truncated: "BOOLEAN",
    seconds: "DOUBLE",
  },
  observations: { rollout_id: "VARCHAR", judge: "VARCHAR", observation: "JSON" },
  judgement_records: {
    rollout_id: "VARCHAR",
    judge: "VARCHAR",
    score: "DOUBLE",
    reason: "VARCHAR",
    parts: "JSON",
    invalid: "VARCHAR",
    abstain: "VARCHAR",
    made_by: "VARCHAR",
  },
  reward_records: {
    rollout_id: "VARCHAR",
    group_id: "VARCHAR",
    value: "DOUBLE",
    parts: "JSON",
    invalid: "VARCHAR",
    success: "BOOLEAN",
    made_by: "VARCHAR",
  },
  llm_calls: {
    stage: "VARCHAR",
    api: "VARCHAR",
    model: "VARCHAR",
    key: "VARCHAR",
    cached: "BOOLEAN",
    outcome: "VARCHAR",
    prompt_tokens: "INTEGER",
    output_tokens: "INTEGER",
    seconds: "DOUBLE",
    tries: "INTEGER",
    request: "JSON",
    reply: "JSON",
    at: "BIGINT",
  },
  train_steps: {
    step: "INTEGER",
    kind: "VARCHAR",
    loss: "DOUBLE",
    metrics: "JSON",
    seconds: "DOUBLE",
    checkpoint: "VARCHAR",
    at: "BIGINT",
    staleness: "INTEGER",
  },
  policies: { name: "VARCHAR", version: "INTEGER", model: "VARCHAR", checkpoint: "VARCHAR", at: "BIGINT" },
  evaluations: {
    policy: "VARCHAR",
    policy_version: "INTEGER",
    split: "VARCHAR",
    temperature: "DOUBLE",
    mean: "DOUBLE",
    low: "DOUBLE",
    high: "DOUBLE",
    n: "INTEGER",
    seconds: "DOUBLE",
    at: "BIGINT",
  },
  exports: { exporter: "VARCHAR", dir: "VARCHAR", proof: "JSON", at: "BIGINT" },
  metrics: { name: "VARCHAR", value: "DOUBLE", step: "INTEGER", at: "BIGINT" },
} as const satisfies Record<string, Record<string, ColumnType>>;

/** Name of a table. */
export type TableName = keyof typeof TABLES;

/** Receives one row, cells in the table's column order. */
export type AddRow = (table: TableName, row: Cell[]) => void;

/** Turns envelopes into rows; keeps each open rollout's token ids, to store prompts as prefix reference and suffix. */
export class RowWriter {
  #ids = new Map<string, Int32Array>();

  /** Adds the rows of one envelope. */
  write(envelope: Envelope, add: AddRow) {
    const { seq, at, source, type, cause } = envelope;
    const { ref, payload } = this.#rows(envelope, at, add);
    add("events", [seq, at, source, type, ref, payload === undefined ? null : JSON.stringify(payload), cause ?? null]);
  }

  #rows(envelope: Envelope, at: number, add: AddRow): { ref: string; payload?: unknown } {
    const rows = ROWS[envelope.type] as ((data: never, at: number, add: AddRow, run_id: string) => string) | undefined;
    if (envelope.type === "turn.completed") {
      return { ref: this.#turn(envelope.data as EventMap["turn.completed"], add) };
    }
    if (!rows) return { ref: "", payload: envelope.data };
    const ref = rows(envelope.data as never, at, add, envelope.run_id);
    if (envelope.type === "rollout.completed" || envelope.type === "rollout.abandoned") this.#ids.delete(ref);
    // No table has it, and resume needs it.
    const { measured } = envelope.data as EventMap["run.started"];
    return envelope.type === "run.started" && measured ? { ref, payload: { measured } } : { ref };
  }

  #turn({ rollout_id, turn }: EventMap["turn.completed"], add: AddRow): string {
    const { prompt_token_ids: prompt, output_token_ids: output } = turn;
    const previous = this.#ids.get(rollout_id);
    const prefix = prompt && previous ? commonPrefix(previous, prompt) : 0;
    if (prompt) this.#ids.set(rollout_id, joined(prompt, output));
    add("turns", [
      rollout_id,
      turn.index,
      JSON.stringify(turn.input),
      turn.text,
      turn.reasoning ?? null,
      JSON.stringify(turn.tool_calls),
      turn.invalid_call ?? null,
      prompt ? prefix : null,
      prompt ? prompt.subarray(prefix) : null,
      output ?? null,
      turn.logprobs ?? null,
      turn.finish_reason,
      turn.prompt_tokens,
      turn.output_tokens,
      turn.seconds,
      turn.tools ?? null,
      turn.policy_version ?? null,
      json(turn.shortened),
    ]);
    return `${rollout_id}/${turn.index}`;
  }
}

type Rows = { [K in keyof EventMap]?: (data: EventMap[K], at: number, add: AddRow, run_id: string) => string };

const json = (value: Json | undefined | object): string | null => value === undefined ? null : JSON.stringify(value);

/** Events that have rows of their own; each returns the reference that `events` keeps. */
const ROWS: Rows = {
  "run.started": (d, at, add, run_id) => {
    add("run_starts", [run_id, d.name, d.seed, d.hone_version, at, d.resumed]);
    return run_id;
  },
  "run.ended": (d, at, add, run_id) => {
    add("run_ends", [run_id, at, d.status, d.sentence ?? null]);
    return run_id;
  },
  "catalog.discovered": (d, _at, add) => {
    for (const server of d.servers) {
      const { name, transport, protocol, implementation } = server;
      add("servers", [name, transport, protocol, json(implementation), json(server), d.schema_hash]);
    }
    for (const tool of d.tools) {
      const { server, name, model_name, description, input_schema, annotations, tokens } = tool;
      add("tools", [
        server,
        name,
        model_name,
        description,
        json(input_schema),
        json(annotations),
        Math.round(tokens),
        json(tool),
      ]);
    }
    return d.schema_hash;
  },
  "scenario.produced": (d, _at, add) => {
    add("scenarios", [d.id, d.split, d.task, d.tags, json(d)]);
    return d.id;
  },
  "rollout.requested": (d, at, add) => {
    add("rollout_requests", [
      d.rollout_id,
      d.group_id,
      d.scenario_id,
      d.purpose,
      d.split,
      d.temperature,
      d.try,
      d.policy,
      d.policy_version,
      d.step,
      d.seed,
      d.attempt,
      at,
    ]);
    return d.rollout_id;
  },
  "rollout.completed": (d, at, add) => {
    add("rollout_ends", [d.rollout_id, d.outcome.end, d.outcome.answer, d.outcome.cause ?? null, d.seconds, at]);
    return d.rollout_id;
  },
  "rollout.abandoned": (d, _at, add) => {
    add("rollout_abandoned", [d.rollout_id, d.reason]);
    return d.rollout_id;
  },
  "group.completed": (d, _at, add) => {
    add("groups", [d.group_id, d.scenario_id, d.step, d.rollout_ids]);
    return d.group_id;
  },
  "tool.called": ({ rollout_id, call }, _at, add) => {
    add("tool_calls", [
      rollout_id,
      call.turn,
      call.index,
      call.server,
      call.tool,
      json(call.arguments),
      call.outcome,
      call.text,
      json(call.result),
      call.truncated,
      call.seconds,
    ]);
    return `${rollout_id}/${call.turn}/${call.index}`;
  },
  "observation.made": (d, _at, add) => {
    add("observations", [d.rollout_id, d.judge, json(d.observation)]);
    return `${d.rollout_id}/${d.judge}`;
  },
  "judgement.made": (d, _at, add) => {
    const scored = "score" in d && d.score !== undefined ? d : null;
    add("judgement_records", [
      d.rollout_id,
      d.judge,
      scored?.score ?? null,
      scored?.reason ?? null,
      json(scored?.parts),
      "invalid" in d ? d.invalid : null,
      "abstain" in d ? d.abstain : null,
      d.made_by ?? null,
    ]);
    return `${d.rollout_id}/${d.judge}`;
  },
  "reward.shaped": (d, _at, add) => {
    const shaped = "value" in d && d.value !== undefined ? d : null;
    const invalid = "invalid" in d ? d.invalid : null;
    const cells = [shaped?.value ?? null, json(shaped?.parts), invalid, d.success, d.made_by ?? null];
    add("reward_records", [d.rollout_id, d.group_id, ...cells]);
    return d.rollout_id;
  },
  "llm.called": (d, at, add) => {
    const cells = { ...d, request: json(d.request), reply: json(d.reply), at };
    add("llm_calls", Object.keys(TABLES.llm_calls).map((column) => cells[column as keyof typeof cells]));
    return d.key;
  },
  "train.stepped": (d, at, add) => {
    add("train_steps", [d.step, d.kind, d.loss, json(d.metrics), d.seconds, d.checkpoint, at, d.staleness]);
    return `${d.kind}-${d.step}`;
  },
  "policy.published": (d, at, add) => {
    add("policies", [d.name, d.version, d.model, d.checkpoint, at]);
    return d.name;
  },
  "evaluation.completed": (d, at, add) => {
    const { mean, low, high, n } = d.success;
    add("evaluations", [d.policy, d.policy_version, d.split, d.temperature, mean, low, high, n, d.seconds, at]);
    return `${d.policy}/${d.split}/${d.temperature}`;
  },
  "export.completed": (d, at, add) => {
    add("exports", [d.exporter, d.dir, json(d.proof), at]);
    return d.exporter;
  },
  "metric.recorded": (d, at, add) => {
    add("metrics", [d.name, d.value, d.step, at]);
    return `${d.name}/${d.step}`;
  },
};
