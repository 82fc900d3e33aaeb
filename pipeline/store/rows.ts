/**
 * The mapping of events to rows of the tables. The events table stores references (`events.ref`), not copies.
 * @module
 */
import type { Envelope, EventMap, Json, StepReport } from "../events.ts";
import { type Cell, columnsOf, type TableName } from "./tables.ts";
import { commonPrefix, joined } from "./token_prefix.ts";

/** Receives one row, cells in the table's column order. */
export type AddRow = (table: TableName, row: Cell[]) => void;

/**
 * Turns envelopes into rows; keeps each open rollout's token ids, to store prompts as prefix reference and suffix, and
 * the number of supervised steps, from which RL steps are counted.
 */
export class RowWriter {
  #ids = new Map<string, Int32Array>();
  #supervised: number;

  /** @param supervised Supervised steps that are recorded already. */
  constructor(supervised = 0) {
    this.#supervised = supervised;
  }

  /** Adds the rows of one envelope. */
  write(envelope: Envelope, add: AddRow) {
    const { seq, at, source, type, cause } = envelope;
    const { ref, payload } = this.#rows(envelope, at, (table, row) => add(table, [seq, ...row]));
    add("events", [seq, at, source, type, ref, payload === undefined ? null : JSON.stringify(payload), cause ?? null]);
  }

  #rows(envelope: Envelope, at: number, add: AddRow): { ref: string; payload?: unknown } {
    const rows = ROWS[envelope.type] as ((data: never, at: number, add: AddRow, run_id: string) => string) | undefined;
    if (envelope.type === "turn.completed") {
      return { ref: this.#turn(envelope.data as EventMap["turn.completed"], add) };
    }
    if (envelope.type === "train.stepped") {
      return { ref: this.#step(envelope.data as EventMap["train.stepped"], at, add) };
    }
    if (envelope.type === "metric.recorded") {
      return { ref: this.#metric(envelope.data as EventMap["metric.recorded"], at, add) };
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

  #step(d: EventMap["train.stepped"], at: number, add: AddRow): string {
    if (d.kind === "supervised") this.#supervised = d.step;
    const { kind, step, loss, metrics, seconds, checkpoint, staleness } = d;
    const own = this.#ownStep(kind, step);
    // A step without rows takes no step of the optimizer: there is no loss.
    add("train_steps", [
      kind,
      own,
      step,
      metrics.rows === 0 ? null : loss,
      json(metrics),
      seconds,
      checkpoint,
      staleness,
      at,
    ]);
    return `${kind}-${step}`;
  }

  #metric({ name, value, kind, step }: EventMap["metric.recorded"], at: number, add: AddRow): string {
    add("metrics", [name, value, kind ?? null, this.#ownStep(kind, step), step, at]);
    return `${name}/${step}`;
  }

  /** A step's number among those of its kind. */
  #ownStep(kind: StepReport["kind"] | undefined, step: number): number {
    return kind === "rl" ? step - this.#supervised : step;
  }
}

type Rows = { [K in keyof EventMap]?: (data: EventMap[K], at: number, add: AddRow, run_id: string) => string };

const json = (value: Json | undefined | object): string | null => value === undefined ? null : JSON.stringify(value);

/** As the tables have it: NULL outside of RL. */
const rlStep = (step: number): number | null => step > 0 ? step : null;

const LLM_COLUMNS = columnsOf("llm_calls").slice(1).map(([column]) => column);

/** Events that have rows of their own; each returns the reference that `events` keeps. */
const ROWS: Rows = {
  "run.started": (d, at, add, run_id) => {
    add("run_starts", [run_id, d.name, d.seed, d.hone_version, at, d.resumed, json(d.machine)]);
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
      rlStep(d.step),
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
    add("groups", [d.group_id, d.scenario_id, rlStep(d.step), d.rollout_ids]);
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
  "label.given": (d, at, add) => {
    add("label_records", [d.rollout_id, "human", d.score, d.reason, d.labelled_by ?? null, at]);
    return d.rollout_id;
  },
  "reward.shaped": (d, _at, add) => {
    const shaped = "value" in d && d.value !== undefined ? d : null;
    const invalid = "invalid" in d ? d.invalid : null;
    const cells = [shaped?.value ?? null, json(shaped?.parts), invalid, d.success, d.made_by ?? null];
    add("reward_records", [d.rollout_id, d.group_id, ...cells]);
    return d.rollout_id;
  },
  "llm.called": (d, at, add) => {
    const cells = { ...d, request: json(d.request), reply: json(d.reply), recorded_at: at };
    add("llm_calls", LLM_COLUMNS.map((column) => cells[column as keyof typeof cells] ?? null));
    return d.key;
  },
  "policy.published": (d, at, add) => {
    add("policies", [d.name, d.version, d.model, d.checkpoint, at]);
    return d.name;
  },
  "prompt.proposed": ({ policy, system_prompt, examples, made_of }, at, add) => {
    add("prompts", [policy, system_prompt, json(examples), json(made_of), at]);
    return policy;
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
};
