/**
 * The nouns of hone and the events that carry them. Every row of the store is one of these records.
 * Knows nothing of plugins, runners, files or servers. Names of events are `<noun>.<past verb>`.
 * @module
 */

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
/** A JSON object. */
export type JsonObject = { [key: string]: Json };

/** Which part of the data a scenario belongs to. Held-out scenarios are read by the verdict alone. */
export type Split = "train" | "validation" | "heldout";

/** One tool of one server, under the name that the model sees. */
export interface ToolSpec {
  server: string;
  /** The server's own name of the tool. */
  name: string;
  /** The name that the model sees: `^[a-zA-Z0-9_-]{1,64}$`, unique in the catalog. */
  model_name: string;
  description: string;
  input_schema: JsonObject;
  output_schema?: JsonObject;
  annotations: { read_only?: boolean; destructive?: boolean; idempotent?: boolean; open_world?: boolean };
  /** Estimated tokens of the tool as rendered for a model. */
  tokens: number;
}

/** One server as discovery found it. */
export interface CatalogServer {
  name: string;
  transport: "stdio" | "http" | "sse";
  protocol: string;
  implementation: { name: string; version: string };
  instructions?: string;
  resources: { uri: string; name: string; description?: string; mime_type?: string }[];
  resource_templates: { uri_template: string; name: string; description?: string }[];
  prompts: { name: string; description?: string; arguments: { name: string; required: boolean }[] }[];
  /** Lists other than tools that the server says it has and could not give, one sentence each. */
  problems?: string[];
}

/** What discovery found: servers, tools, and a hash over all names and schemas. */
export interface Catalog {
  servers: CatalogServer[];
  tools: ToolSpec[];
  schema_hash: string;
}

/** The servers are no longer what they were. `changes` says how, one line each. */
export interface CatalogChange {
  /**
   * `resumed`: since the run began, and it was to go on; `evaluated`: since the policy was trained; `notified`: while the
   * run was under way, which goes on offering what it began with.
   */
  found: "resumed" | "evaluated" | "notified";
  changes: string[];
  /** Hash of what there is now. */
  schema_hash: string;
  /** What there is now, where the run goes on with it. */
  catalog?: Catalog;
}

/** A tool call as a person writes it in a scenario. `server` may be left out where the name is unique. */
export interface CallSpec {
  server?: string;
  tool: string;
  arguments: JsonObject;
}

/** How a text or JSON value is compared; exactly one key. */
export interface Matcher {
  equals?: Json;
  contains?: string;
  matches?: string;
  /** Numbers are equal within this tolerance (with `equals`). */
  tolerance?: number;
}

/** One task for the agent. */
export interface Scenario {
  id: string;
  task: string;
  split: Split;
  tags: string[];
  /** Brings a fresh environment into the wanted state: files below `${workdir}`, then calls, in order. */
  setup?: { files?: Record<string, string>; directories?: string[]; calls?: CallSpec[] };
  /** What the judges expect, by judge (the plugin's name), each part in that judge's own schema. */
  expect?: Record<string, Json>;
  /** The part of `judge/state`, which is written at the top. */
  checks: readonly object[];
  /** The part of `judge/answer`. */
  answer?: object;
  /** The part of `judge/calls`. */
  calls?: object;
  /** Reference solution: calls in order, then the closing answer. Replayed on the real server before it teaches. */
  solution?: { calls: CallSpec[]; answer: string };
  /** Tools (model names) that the agent is offered; all of them when left out. */
  tools?: string[];
}

/** Why a turn or call failed, in one word that metrics can count. */
export type CallOutcome =
  | "ok"
  | "tool_error"
  | "protocol_error"
  | "timeout"
  | "server_died"
  | "unknown_tool"
  | "invalid_arguments"
  | "denied"
  | "cancelled";

/** One LLM call. Token arrays are present when the endpoint gives tokens (`policy.tokens: exact`). */
export interface TurnRecord {
  type: "turn";
  index: number;
  /** Messages that this turn added to the conversation before the model spoke. */
  input: ChatMessage[];
  /** Messages before `input` that were shortened to fit the context; they stay so. */
  shortened?: Shortened[];
  /** Model names of the tools that were offered; on a rollout's first turn, and where they change. */
  tools?: string[];
  /** The model's raw text. */
  text: string;
  reasoning?: string;
  /** Calls parsed from the text, or native ones. */
  tool_calls: { id: string; name: string; arguments: JsonObject }[];
  /** Set when the text looked like a call and could not be read as one, or the call did not fit its schema. */
  invalid_call?: string;
  prompt_token_ids?: Int32Array;
  output_token_ids?: Int32Array;
  logprobs?: Float32Array;
  finish_reason: "stop" | "length" | "tool_calls" | "error";
  /** Version of the weights that spoke, where the endpoint says it. */
  policy_version?: number;
  prompt_tokens: number;
  output_tokens: number;
  seconds: number;
}

/** A message whose text was shortened: its place in the conversation, from 0, and its characters before and after. */
export interface Shortened {
  message: number;
  from: number;
  to: number;
}

/** One tool call: what the model saw and the whole result. */
export interface ToolCallRecord {
  type: "tool_call";
  turn: number;
  index: number;
  server: string;
  tool: string;
  arguments: JsonObject;
  outcome: CallOutcome;
  /** Text for the model; truncated where `truncated`. */
  text: string;
  /** The whole MCP result, or the error, for judges and the store. */
  result: Json;
  truncated: boolean;
  seconds: number;
}

/** A chat message as OpenAI-compatible endpoints take it. */
export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  tool_calls?: { id: string; type: "function"; function: { name: string; arguments: string } }[];
  tool_call_id?: string;
  reasoning?: string;
}

/** How a rollout ended. Some ends say that the attempt tells nothing about the policy. */
export interface Outcome {
  end:
    | "answered"
    | "completed"
    | "max_turns"
    | "length"
    | "context_full"
    | "invalid_calls"
    | "repeated_calls"
    | "timeout"
    | "server_failed"
    | "endpoint_failed"
    | "tape_miss"
    | "cancelled";
  answer: string | null;
  /** Human words for ends that are not `answered` or `completed`. */
  cause?: string;
}

/** What a rollout is for. */
export type Purpose = "train" | "evaluation" | "demonstration";

/** Identity of one rollout. */
export interface RolloutRef {
  rollout_id: string;
  group_id: string;
  scenario_id: string;
  purpose: Purpose;
  split: Split;
  /** Sampling temperature of this rollout; 0 is greedy. The verdict keeps greedy and sampled success apart. */
  temperature: number;
  /** Which of several tries at the same scenario under the same policy, from 0. */
  try: number;
  /** Name of the policy (`base`, `warm_start`, `tuned`, or the step's name). */
  policy: string;
  policy_version: number;
  /** Training step or -1. */
  step: number;
  seed: number;
  attempt: number;
}

/** A group that is to be run: rollouts of one scenario under one policy version, compared with each other. */
export interface GroupRequest {
  group_id: string;
  scenario_id: string;
  purpose: Purpose;
  split: Split;
  policy: string;
  policy_version: number;
  temperature: number;
  /** Training step, from 0, or -1. */
  step: number;
  /** Place among the groups that were asked for together, from 0. */
  index: number;
  /** Rollouts. */
  size: number;
}

/** A rollout's whole record. */
export interface Trajectory extends RolloutRef {
  turns: TurnRecord[];
  tool_calls: ToolCallRecord[];
  outcome: Outcome;
  /** Observations by judge (stage id), taken before the environment was released. */
  observations: Record<string, Json>;
  seconds: number;
}

/** What one judge says of one rollout: a score in [0, 1], that it is not its to judge, or why it cannot. */
export type Judgement =
  | { score: number; reason: string; parts?: Record<string, number> }
  | { abstain: string }
  | { invalid: string };

/** A reward: its value and named parts, or why there is none. */
export type RewardValue = { value: number; parts: Record<string, number> } | { invalid: string };

/** One question that a stage put to a language model, and what came of it. No secret is in it, and no header. */
export interface LlmCall {
  stage: string;
  api: "openai" | "anthropic";
  /** The model that was asked, as the settings name it. */
  model: string;
  /** Content key: equal questions have equal ones. */
  key: string;
  /** True where an equal question was answered before, by this run or an earlier one. */
  cached: boolean;
  /** `ok`, the code of what went wrong, or `cancelled`. */
  outcome: string;
  prompt_tokens: number;
  output_tokens: number;
  /** Seconds that the endpoint took, all tries together. */
  seconds: number;
  /** Requests that were sent; 0 where nobody was asked. */
  tries: number;
  /** What was asked: the question's content, as its key is made of it. */
  request: Json;
  /** `{ text, json?, model }`, or `{ error: { code, message } }`. */
  reply: Json;
}

/** Metrics of one optimiser step, as the trainer reports them. */
export interface StepReport {
  step: number;
  kind: "supervised" | "rl";
  loss: number;
  metrics: Record<string, number>;
  seconds: number;
}

/** A proportion or mean with its 95 % interval. */
export interface Interval {
  mean: number;
  low: number;
  high: number;
  n: number;
}

/** What is measured. */
export interface EvaluationTarget {
  policy: string;
  policy_version: number;
  split: Split;
  temperature: number;
}

/** A batch that is ready to be trained on. */
export interface Batch {
  /** Number of the optimiser step that it is for, from 1; supervised steps count too. */
  step: number;
  kind: StepReport["kind"];
  /** Absolute path of a `batch.v1` file. */
  path: string;
  rows: number;
  dropped: Record<string, number>;
  learning_rate: number;
  /** What the rollouts of the batch were like; joins what the trainer reports of the step. */
  metrics: Record<string, number>;
  /** Most policy versions between the weights that sampled a rollout and the weights that it trains. */
  staleness: number;
  /** The policy that the step makes; none where another step of the rung follows at once. */
  publish_as?: { name: string; version: number };
}

/** Events by name. Payloads are plain records; long number arrays are typed arrays. */
export interface EventMap {
  "run.started": { name: string; seed: number; hone_version: string; resumed: boolean };
  "catalog.discovered": Catalog;
  "catalog.changed": CatalogChange;
  "scenario.produced": Scenario;
  "scenarios.completed": Record<Split, number>;
  "rung.started": { rung: string; total: number };
  /** `checkpoint` is the one that the rung chose; empty where it made none. */
  "rung.completed": { rung: string; steps: number; checkpoint: string };
  "demonstrations.requested": { scenarios: number };
  "group.requested": GroupRequest;
  "rollout.requested": RolloutRef;
  "turn.completed": { rollout_id: string; turn: TurnRecord };
  "tool.called": { rollout_id: string; call: ToolCallRecord };
  "observation.made": { rollout_id: string; judge: string; observation: Json };
  "llm.called": LlmCall;
  "rollout.completed": RolloutRef & { outcome: Outcome; seconds: number };
  "rollout.abandoned": { rollout_id: string; reason: string };
  "group.completed": { group_id: string; scenario_id: string; step: number; rollout_ids: string[] };
  "judgement.made": { rollout_id: string; group_id: string; judge: string } & Judgement;
  "reward.shaped": { rollout_id: string; group_id: string; success: boolean } & RewardValue;
  "group.rewarded": { group_id: string; scenario_id: string; step: number; purpose: Purpose };
  "batch.ready": Batch;
  /** `checkpoint` is its id; the state is on disk, or wherever a hosted trainer keeps it, when this is published. */
  "train.stepped": StepReport & { checkpoint: string; staleness: number };
  "policy.requested": { name: string; version: number; checkpoint: string };
  "policy.published": { name: string; version: number; model: string; checkpoint: string };
  "dataset.ready": { train: string; validation: string | null; rows: number; grader: JsonObject };
  "job.submitted": { job_id: string };
  "evaluation.requested": EvaluationTarget & { scenarios: number; tries: number };
  "evaluation.completed": EvaluationTarget & { success: Interval; seconds: number };
  /** The last rung is done; the policy is the one that is exported. `checkpoint` is empty for the base policy. */
  "ladder.completed": { policy: string; checkpoint: string };
  "verdict.made": { sentence: string; policy: string; checkpoint: string };
  "export.completed": { exporter: string; dir: string; proof: JsonObject };
  "metric.recorded": { name: string; value: number; step: number };
  "stage.failed": { stage: string; code: string; message: string; hint?: string };
  "run.ended": { status: "completed" | "failed" | "cancelled" | "paused"; sentence?: string };
}

/** Name of an event. */
export type EventName = keyof EventMap;

/** An event with its envelope. `seq` is gapless per run; `at` is milliseconds since the epoch. */
export interface Envelope<K extends EventName = EventName> {
  seq: number;
  at: number;
  run_id: string;
  /** Stage, or part of hone, that published it. */
  source: string;
  /** `seq` of the event whose handling published it; none where nothing else in the run did. */
  cause?: number;
  type: K;
  data: EventMap[K];
}

/** Events whose record must be on disk before it counts as acknowledged. */
export const DURABLE: ReadonlySet<EventName> = new Set<EventName>([
  "turn.completed",
  "tool.called",
  "rollout.completed",
  "judgement.made",
  "reward.shaped",
  "llm.called",
  "train.stepped",
  "job.submitted",
  "policy.published",
  "evaluation.completed",
  "run.ended",
]);
