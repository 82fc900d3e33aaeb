/**
 * The records of hone and the events that carry them. Every row of the store is one of these records.
 * Independent of plugins, runners, files and servers. Names of events are `<noun>.<past verb>`.
 * @module
 */

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
/** A JSON object. */
export type JsonObject = { [key: string]: Json };

/** The split of a scenario. Held-out scenarios are used only for the verdict. */
export type Split = "train" | "validation" | "heldout";

/** One tool of one server, under the name that the model sees. */
export interface ToolSpec {
  server: string;
  /** The tool's name on the server. */
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

/** One discovered server. */
export interface CatalogServer {
  name: string;
  transport: "stdio" | "http" | "sse";
  protocol: string;
  implementation: { name: string; version: string };
  instructions?: string;
  resources: { uri: string; name: string; description?: string; mime_type?: string }[];
  resource_templates: { uri_template: string; name: string; description?: string }[];
  prompts: { name: string; description?: string; arguments: { name: string; required: boolean }[] }[];
  /** Lists other than tools that the server advertises but failed to return, one sentence each. */
  problems?: string[];
}

/** The result of discovery: servers, tools, and a hash of all names and schemas. */
export interface Catalog {
  servers: CatalogServer[];
  tools: ToolSpec[];
  schema_hash: string;
}

/** Changes of the servers' tools, one line each. */
export interface CatalogChange {
  /**
   * `resumed`: changes since the run started, found when it was resumed; `evaluated`: since the policy was trained;
   * `notified`: during the run, which continues to offer the original tools.
   */
  found: "resumed" | "evaluated" | "notified";
  changes: string[];
  /** Hash of the current catalog. */
  schema_hash: string;
  /** The current catalog, if the run continues with it. */
  catalog?: Catalog;
}

/** A tool call, as written in a scenario. `server` is optional if the tool's name is unique. */
export interface CallSpec {
  server?: string;
  tool: string;
  arguments: JsonObject;
}

/** How a text or JSON value is compared, in at most one way. */
export interface Matcher {
  equals?: Json;
  contains?: string;
  matches?: string;
  /** JSON Schema that the value must fit. */
  schema?: JsonObject;
  /** The values of a list, in any order. */
  set?: Json[];
  /** Tolerance for comparing numbers (with `equals` and `set`). */
  tolerance?: number;
}

/** One task for the agent. */
export interface Scenario {
  id: string;
  task: string;
  split: Split;
  tags: string[];
  /**
   * Sets up the initial state of a fresh environment: the contents of a folder (relative to the pipeline's) and files
   * below `${workdir}`, then calls, in order.
   */
  setup?: { fixture?: string; files?: Record<string, string>; directories?: string[]; calls?: CallSpec[] };
  /** As its author expects it: a level, or a number from 0 (easy) to 1. Also one of its tags. */
  difficulty?: "easy" | "medium" | "hard" | number;
  /** The judges' parts, by judge (the plugin's name), each in that judge's schema. */
  expect?: Record<string, Json>;
  /** The part of `judge/state`, a top-level field. */
  checks: readonly object[];
  /** The part of `judge/answer`. */
  answer?: object;
  /** The part of `judge/calls`. */
  calls?: object;
  /** Reference solution: calls in order, then the closing answer. Verified on the real server before training on it. */
  solution?: { calls: CallSpec[]; answer: string };
  /** Tools (model names) offered to the agent. Default: all. */
  tools?: string[];
}

/** The outcome of a call. */
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

/** One turn of the model. Token arrays are present if the endpoint returns tokens (`policy.tokens: exact`). */
export interface TurnRecord {
  type: "turn";
  index: number;
  /** Messages added to the conversation before this turn's reply. */
  input: ChatMessage[];
  /** Messages before `input` that were shortened to fit the context; they remain shortened. */
  shortened?: Shortened[];
  /** Model names of the offered tools; set on a rollout's first turn and whenever they change. */
  tools?: string[];
  /** The model's raw text. */
  text: string;
  reasoning?: string;
  /** Calls parsed from the text, or native tool calls. */
  tool_calls: { id: string; name: string; arguments: JsonObject }[];
  /** Set if the text looked like a call but could not be parsed, or the call did not match its schema. */
  invalid_call?: string;
  prompt_token_ids?: Int32Array;
  output_token_ids?: Int32Array;
  logprobs?: Float32Array;
  finish_reason: "stop" | "length" | "tool_calls" | "error";
  /** Version of the weights that sampled the turn, if the endpoint reports it. */
  policy_version?: number;
  prompt_tokens: number;
  output_tokens: number;
  seconds: number;
}

/** A shortened message: its index in the conversation, from 0, and its number of characters before and after. */
export interface Shortened {
  message: number;
  from: number;
  to: number;
}

/** One tool call: the text for the model and the full result. */
export interface ToolCallRecord {
  type: "tool_call";
  turn: number;
  index: number;
  server: string;
  tool: string;
  arguments: JsonObject;
  outcome: CallOutcome;
  /** Text for the model; see `truncated`. */
  text: string;
  /** The full MCP result, or the error, for judges and the store. */
  result: Json;
  truncated: boolean;
  seconds: number;
}

/** A chat message in the form of OpenAI-compatible endpoints. */
export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool";
  content: string;
  tool_calls?: { id: string; type: "function"; function: { name: string; arguments: string } }[];
  tool_call_id?: string;
  reasoning?: string;
}

/** Ways in which a rollout ends. */
export const OUTCOME_ENDS = [
  "answered",
  "completed",
  "max_turns",
  "length",
  "context_full",
  "invalid_calls",
  "repeated_calls",
  "timeout",
  "server_failed",
  "endpoint_failed",
  "tape_miss",
  "cancelled",
] as const;

/** How a rollout ended. Some ends say nothing about the policy. */
export interface Outcome {
  end: typeof OUTCOME_ENDS[number];
  answer: string | null;
  /** Human-readable cause of ends other than `answered` and `completed`. */
  cause?: string;
}

/** Purpose of a rollout. */
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
  /** Index, from 0, of this attempt at the scenario under the same policy. */
  try: number;
  /** Name of the policy (`base`, `warm_start`, `tuned`, or the step's name). */
  policy: string;
  policy_version: number;
  /** RL step, from 1, or -1. */
  step: number;
  seed: number;
  attempt: number;
}

/** A requested group: rollouts of one scenario under one policy version, which are compared with each other. */
export interface GroupRequest {
  group_id: string;
  scenario_id: string;
  purpose: Purpose;
  split: Split;
  policy: string;
  policy_version: number;
  temperature: number;
  /** RL step, from 1, or -1. */
  step: number;
  /** Index among the groups that were requested together, from 0. */
  index: number;
  /** Number of rollouts. */
  size: number;
}

/** The full record of a rollout. */
export interface Trajectory extends RolloutRef {
  turns: TurnRecord[];
  tool_calls: ToolCallRecord[];
  outcome: Outcome;
  /** Observations by judge (stage id), taken before the environment was released. */
  observations: Record<string, Json>;
  seconds: number;
}

/**
 * One judge's judgement of one rollout: a score in [0, 1], an abstention (does not apply), or the cause of a failure.
 */
export type Judgement =
  | { score: number; reason: string; parts?: Record<string, number> }
  | { abstain: string }
  | { invalid: string };

/** What a person said of one rollout. */
export interface Label {
  rollout_id: string;
  /** From 0 to 1; a thumb up is 1, a thumb down 0. */
  score: number;
  /** Empty if none was given. */
  reason: string;
  labelled_by?: string;
}

/** A reward: its value and named parts, or the reason why it is invalid. */
export type RewardValue = { value: number; parts: Record<string, number> } | { invalid: string };

/** One request of a stage to a language model, and its result. Contains no secrets and no headers. */
export interface LlmCall {
  stage: string;
  api: "openai" | "anthropic";
  /** The requested model, as in the settings. */
  model: string;
  /** Hash of the content: equal requests have equal keys. */
  key: string;
  /** True if the reply comes from the cache. */
  cached: boolean;
  /** `ok`, an error code, or `cancelled`. */
  outcome: string;
  prompt_tokens: number;
  output_tokens: number;
  /** Total seconds of all tries. */
  seconds: number;
  /** Number of HTTP requests; 0 if none was sent. */
  tries: number;
  /** Content of the request, from which its key is computed. */
  request: Json;
  /** `{ text, json?, model }`, or `{ error: { code, message } }`. */
  reply: Json;
  /** Cost in US dollars, 0 if nothing was sent; null if the endpoint has no price. */
  usd: number | null;
}

/** Metrics of one optimiser step, reported by the trainer. */
export interface StepReport {
  /** Number of the optimiser step, from 1, including supervised steps. */
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

/** The policy, split and temperature of an evaluation. */
export interface EvaluationTarget {
  policy: string;
  policy_version: number;
  split: Split;
  temperature: number;
}

/** A batch for one training step. */
export interface Batch {
  /** Number of its optimiser step, from 1, including supervised steps. */
  step: number;
  kind: StepReport["kind"];
  /** Path of a `batch.v1` file, relative to the run's folder. */
  path: string;
  rows: number;
  dropped: Record<string, number>;
  learning_rate: number;
  /** Metrics of the batch's rollouts, added to the trainer's metrics of the step. */
  metrics: Record<string, number>;
  /** Maximum number of policy versions between the weights that sampled a rollout and those that it trains. */
  staleness: number;
  /** The policy published after the step; absent if another step of the rung follows directly. */
  publish_as?: { name: string; version: number };
}

/** How a run ends: `interrupted` by its signal (Ctrl-C), `cancelled` and `paused` by `hone cancel` and `hone pause`. */
export const RUN_STATUSES = ["completed", "failed", "interrupted", "cancelled", "paused"] as const;

/** The machine that a run is on, without names of hosts, users or folders. */
export interface Machine {
  /** Model of its processor. */
  cpu: string;
  cores: number;
  memory_bytes: number;
  /** Operating system with its version, and architecture. */
  os: string;
}

/** Events by name. Payloads are plain records; long arrays of numbers are typed arrays. */
export interface EventMap {
  /** `measured` in a run that only evaluates: the policies, and their weights (see `Measured` in run/context.ts). */
  "run.started": {
    name: string;
    seed: number;
    hone_version: string;
    resumed: boolean;
    machine?: Machine;
    measured?: {
      policy: string;
      weights?: string;
      prompt?: { system_prompt?: string; examples?: ChatMessage[]; max_tokens?: number };
    }[];
  };
  "catalog.discovered": Catalog;
  "catalog.changed": CatalogChange;
  /** First new event in a copy of a run that is judged again: the run, and its evaluations. */
  "rejudging.requested": { run_id: string; evaluations: (EvaluationTarget & { seconds: number })[] };
  "scenario.produced": Scenario;
  "scenarios.completed": Record<Split, number>;
  "rung.started": { rung: string; total: number };
  /** `checkpoint` is the selected one; empty if the rung produced none. */
  "rung.completed": { rung: string; steps: number; checkpoint: string };
  "demonstrations.requested": { scenarios: number };
  "group.requested": GroupRequest;
  /** Further groups of an RL step in place of some without a learning signal; `index` is that of the first. */
  "replacements.requested": { step: number; index: number; scenario_ids: string[] };
  "rollout.requested": RolloutRef;
  "turn.completed": { rollout_id: string; turn: TurnRecord };
  "tool.called": { rollout_id: string; call: ToolCallRecord };
  "observation.made": { rollout_id: string; judge: string; observation: Json };
  "llm.called": LlmCall;
  "rollout.completed": RolloutRef & { outcome: Outcome; seconds: number };
  "rollout.abandoned": { rollout_id: string; reason: string };
  "group.completed": { group_id: string; scenario_id: string; step: number; rollout_ids: string[] };
  /** `made_by`: digest of what the judgement depends on besides the rollout; a resumed run keeps it while that is so. */
  "judgement.made": { rollout_id: string; group_id: string; judge: string; made_by?: string } & Judgement;
  "label.given": Label;
  /** `made_by` as for judgements. */
  "reward.shaped": { rollout_id: string; group_id: string; success: boolean; made_by?: string } & RewardValue;
  "group.rewarded": { group_id: string; scenario_id: string; step: number; purpose: Purpose };
  "batch.ready": Batch;
  /** `checkpoint` is an id; the state is saved, on disk or by the hosted trainer, before this is published. */
  "train.stepped": StepReport & { checkpoint: string; staleness: number };
  "policy.requested": { name: string; version: number; checkpoint: string };
  "policy.published": { name: string; version: number; model: string; checkpoint: string };
  /** Paths are relative to the run's folder. */
  "dataset.ready": { train: string; validation: string | null; rows: number; grader: JsonObject };
  /** `after_step`: steps that earlier jobs of the run took; the job's own are counted from there. */
  "job.submitted": { job_id: string; after_step: number };
  /** A prompt of the `prompt` rung: a candidate (`prompt-0`, the pipeline's own, …), or `prompt`, the one that it chose. */
  "prompt.proposed": {
    policy: string;
    system_prompt: string;
    examples: ChatMessage[];
    made_of: { instructions: string; examples: string[] };
  };
  /** `ids` where it names its scenarios; otherwise `scenarios` of them are chosen by the run's seed. */
  "evaluation.requested": EvaluationTarget & { scenarios: number; tries: number; ids?: string[] };
  "evaluation.completed": EvaluationTarget & { success: Interval; seconds: number };
  /** The last rung is complete; `policy` is the exported one. `checkpoint` is empty for the base policy. */
  "ladder.completed": { policy: string; checkpoint: string };
  "verdict.made": { sentence: string; policy: string; checkpoint: string };
  /** `dir` is relative to the run's folder. */
  "export.completed": { exporter: string; dir: string; proof: JsonObject };
  /** `step` is the number of its optimiser step; `kind` that step's kind. */
  "metric.recorded": { name: string; value: number; step: number; kind?: StepReport["kind"] };
  "stage.failed": { stage: string; code: string; message: string; hint?: string };
  "run.ended": { status: typeof RUN_STATUSES[number]; sentence?: string };
}

/** Name of an event. */
export type EventName = keyof EventMap;

/** An event with its envelope. `seq` is gapless per run; `at` is milliseconds since the epoch. */
export interface Envelope<K extends EventName = EventName> {
  seq: number;
  at: number;
  run_id: string;
  /** Stage, or part of hone, that published the event. */
  source: string;
  /** `seq` of the event whose handler published this one, if any. */
  cause?: number;
  type: K;
  data: EventMap[K];
}
