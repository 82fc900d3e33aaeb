/**
 * The roles that plugins play, and `definePlugin`. A plugin sees its role's arguments and nothing else:
 * never the bus, the store or another plugin. What a role returns or yields is published by the runner.
 * @module
 */
import type { z } from "zod";
import type {
  CallOutcome,
  CallSpec,
  Catalog,
  ChatMessage,
  Envelope,
  Json,
  JsonObject,
  Outcome,
  Scenario,
  StepReport,
  ToolCallRecord,
  ToolSpec,
  Trajectory,
  TurnRecord,
} from "./events.ts";

/** The kinds of plugin. */
export type Kind = "discoverer" | "scenario-source" | "rollout" | "judge" | "reward-shaper" | "trainer" | "exporter";

/** What a plugin may write to while it works. Lines go to `run.log`, and to the terminal with `--verbose`. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
}

/** What `create` receives. */
export interface Context<C> {
  /** The stage's `with:`, parsed by the plugin's own schema. */
  config: C;
  /** Id of the stage in this pipeline. */
  stage: string;
  log: Log;
  /** Aborted when the run ends or is cancelled. */
  signal: AbortSignal;
  /** Absolute folder of the pipeline file; relative paths in settings are relative to it. */
  base_dir: string;
}

/** Result of one tool call on a leased environment. Never thrown: failure is data. */
export interface CallResult {
  outcome: CallOutcome;
  /** All text content joined for the model, before truncation. */
  text: string;
  /** The MCP result (`content`, `structuredContent`, `isError`) or `{ error: { code, message } }`. */
  result: Json;
  seconds: number;
}

/** What the runner leases to one rollout. */
export interface Environment {
  id: string;
  /** Absolute path of the rollout's own folder, or null where no server uses one. */
  workdir: string | null;
  tools: ToolSpec[];
  /**
   * Calls a tool by the name that the model sees. Does not throw, and ends by itself: the environment keeps the time
   * limit, because it alone hears of a tool's progress.
   */
  call(model_name: string, args: JsonObject, options?: { signal?: AbortSignal }): Promise<CallResult>;
  /** Calls a tool for observation or setup, by its server's own name; allow lists of the agent do not apply. */
  observe(call: CallSpec): Promise<CallResult>;
}

/** How a policy is reached and sampled. */
export interface Policy {
  /** `base`, `warm_start`, `tuned`, or a step's name. */
  name: string;
  version: number;
  base_url: string;
  model: string;
  api_key?: string;
  headers?: Record<string, string>;
  /** Further fields of every request. */
  body?: JsonObject;
  /** `exact`: prompt ids, output ids and logprobs of the sampled distribution come back. */
  tokens: "exact" | "none";
  /** True where the endpoint keeps ids by rollout handle (our own worker). */
  rollout_handles: boolean;
  /** How tools reach the model: `native` sends `tools`; the others are rendered into the system prompt by hone. */
  tool_format: ToolFormat;
  /** 0 where unknown. */
  context_tokens: number;
  sampling: { temperature: number; top_p: number; max_tokens: number };
}

/** Formats of tool calls that hone reads and writes. */
export type ToolFormat = "native" | "hermes" | "json" | "llama_json" | "qwen_xml" | "pythonic" | "mistral";

/** The pipeline's `agent:` block. */
export interface Agent {
  system_prompt: string;
  examples: ChatMessage[];
  max_turns: number;
  max_tokens: number;
  temperature: number;
  tool_format: ToolFormat | "auto";
  /** What a template that renders tools is given of their schemas; `full` when left out. */
  tool_schemas?: "full" | "compact";
  /** Most tokens of the tools that one scenario offers, estimated; no limit when left out. */
  tool_budget_tokens?: number;
  complete_task: boolean;
  max_result_chars: number;
  /** Most characters of a conversation; what the policy's context holds when left out. */
  max_history_chars?: number;
  max_invalid_calls: number;
  max_repeated_calls: number;
  turn_timeout_secs: number;
  tool_timeout_secs: number;
  rollout_timeout_secs: number;
}

/** What a rollout yields while it runs. */
export type RolloutRecord = TurnRecord | ToolCallRecord;

/** A language model that a plugin may ask, as its settings name it. */
export interface LlmEndpoint {
  /** `openai`: any OpenAI-compatible endpoint; `anthropic`: the Anthropic Messages API. */
  api: "openai" | "anthropic";
  /** Base address: with its `/v1` for `openai`; `https://api.anthropic.com` for the other. */
  base_url: string;
  model: string;
  /** Environment variable that holds the key. */
  api_key_env?: string;
  headers?: Record<string, string>;
  /** Further fields of every request. */
  body?: JsonObject;
}

/** One question to a language model. */
export interface LlmRequest {
  endpoint: LlmEndpoint;
  messages: ChatMessage[];
  max_tokens: number;
  /** 0 when left out, or the endpoint's own where it refuses that. */
  temperature?: number;
  seed?: number;
  /** JSON Schema of the reply; `json` of the reply is then valid against it, or the question fails. */
  schema?: JsonObject;
  /** Longest wait for one try; 60 when left out. */
  timeout_secs?: number;
}

/** What a language model answered. */
export interface LlmReply {
  text: string;
  /** The reply as JSON, where the request has a schema. */
  json?: Json;
  /** The model as the endpoint names it. */
  model: string;
  prompt_tokens: number;
  output_tokens: number;
  /** Seconds of the call; 0 where it was cached. */
  seconds: number;
  /** True where an equal question was answered before, by this run or an earlier one: nobody was asked. */
  cached: boolean;
}

/**
 * The run's one client for language models: every call is recorded, cached by content, counted against the run's limits,
 * redacted, and on the tape.
 */
export interface Llm {
  /**
   * Asks. Throws a HoneError where there is no usable reply (its code says why: LLM_REFUSED, LLM_CUT_OFF, …) or where a
   * limit of the run is used up (LLM_LIMIT), and the stage's own reason where the stage was stopped.
   */
  ask(request: LlmRequest): Promise<LlmReply>;
}

/** Arguments of a rollout. */
export interface RolloutArgs {
  rollout_id: string;
  scenario: Scenario;
  policy: Policy;
  environment: Environment;
  agent: Agent;
  seed: number;
  signal: AbortSignal;
}

/** What a judge says of one rollout of a group; the runner adds `rollout_id` and `judge`. */
export type Verdictlet = { score: number; reason: string; parts?: Record<string, number> } | { invalid: string };

/** What a shaper makes of one rollout's judgements; the runner adds `rollout_id`. */
export type Shaped = { value: number; parts: Record<string, number> } | { invalid: string };

/** A trainable demonstration: a conversation whose assistant messages are to be learned. */
export interface Demonstration {
  id: string;
  scenario_id: string;
  messages: ChatMessage[];
  /** Present for formats that hand tools to the template. */
  tools?: ToolSpec[];
}

/** Ids of one turn of a demonstration. */
export interface DemonstrationTurn {
  prompt_ids: number[];
  output_ids: number[];
}

/** Metrics that a trainer yields while it works. */
export interface TrainerMetric {
  name: string;
  value: number;
}

/** Settings of one optimiser step. */
export interface StepArgs {
  step: number;
  /** Absolute path of a `batch.v1` file. */
  batch: string;
  learning_rate?: number;
  /** Loss options for `step`; see `train.loss`. */
  loss?: JsonObject;
}

/** A saved state of the trainer. */
export interface Checkpoint {
  /** Absolute folder: PEFT adapter, optimiser and random state. */
  dir: string;
  bytes: number;
}

/** What an online trainer offers while it is open. Dispose it to end its worker. */
export interface OnlineTrainer extends AsyncDisposable {
  /** The base policy, version 0, with adapters off. */
  base: Policy;
  /** Resolves when the trainer is lost (its worker died); never rejects. */
  lost?: Promise<Error>;
  /** Facts of the model, for the run's record: parameters, layers, template hash. */
  model: JsonObject;
  /** Ids that the endpoint would have produced for these conversations. */
  demonstrate(demonstrations: Demonstration[]): Promise<{ id: string; turns: DemonstrationTurn[] }[]>;
  supervise(args: StepArgs): AsyncGenerator<TrainerMetric, StepReport>;
  step(args: StepArgs): AsyncGenerator<TrainerMetric, StepReport>;
  /** Makes the current weights (or those of `dir`) the policy of this version and name. */
  publish(args: { name: string; version: number; dir?: string }): Promise<Policy>;
  /** Adapter, optimiser and random state are on disk when this resolves. */
  save(dir: string): Promise<Checkpoint>;
  /** Writes a checkpoint's adapter (or the current one) in PEFT layout, with proof that it is what it says. */
  export(dir: string, checkpoint?: string): Promise<JsonObject>;
  /** Seconds of the trainer's own processes and their peak memory, where known. */
  usage?(): Promise<{ cpu_seconds: number; peak_bytes: number }>;
}

/** Arguments of `open`. */
export interface OpenArgs {
  model: string;
  agent: Agent;
  seed: number;
  /** Absolute folder of the run. */
  run_dir: string;
  /** Rollouts that will be in flight at once. */
  concurrency: number;
  /** Checkpoint folder to continue from. */
  resume_dir?: string;
  /** The optimiser step that `resume_dir` stands at. */
  resume_step?: number;
  on_progress: (message: string, fraction?: number) => void;
}

/** What the exporter receives. */
export interface ExportArgs {
  /** Absolute folder to write to; does not exist yet. */
  dir: string;
  policy: Policy;
  agent: Agent;
  catalog: Catalog;
  verdict: JsonObject;
  model: JsonObject;
  /** Writes the trainer's adapter into a folder and returns its proof. */
  write_adapter(dir: string): Promise<JsonObject>;
}

/** Parts of a scenario that say what is expected. */
export type ScenarioPart = "checks" | "answer" | "calls";

/** The role that each kind plays. */
export interface Roles {
  discoverer: { discover(servers: ServerSpec[], connect: Connect): Promise<Catalog> };
  "scenario-source": { produce(catalog: Catalog): AsyncIterable<Scenario> | Iterable<Scenario> };
  rollout: {
    run(args: RolloutArgs): AsyncGenerator<RolloutRecord, Outcome>;
    /** The conversation that a reference solution would have been, for the supervised warm start. */
    demonstrate?(args: {
      scenario: Scenario;
      agent: Agent;
      policy: Policy;
      tools: ToolSpec[];
      results: CallResult[];
    }): Demonstration;
  };
  judge: {
    /** `absolute` scores mean the same in every group; `relative` ones never leave their group. */
    scale: "absolute" | "relative";
    /** True where a score of 1 is what "success" means. A run needs one decisive judge. */
    decisive: boolean;
    /** Runs before the environment is released; its JSON is stored. */
    observe?(environment: Environment, scenario: Scenario): Promise<Json>;
    /** Pure over stored records: one verdictlet per trajectory, in order. */
    judge(group: Trajectory[], scenario: Scenario): Promise<Verdictlet[]> | Verdictlet[];
    toGrader?(): JsonObject;
  };
  "reward-shaper": {
    /** `judgements` are keyed by judge (stage id). */
    shape(trajectory: Trajectory, judgements: Record<string, Verdictlet>): Shaped | Promise<Shaped>;
    toGrader?(): JsonObject;
  };
  trainer: { mode: "online"; open(args: OpenArgs): Promise<OnlineTrainer> };
  exporter: {
    export(args: ExportArgs): Promise<{ dir: string; proof: JsonObject }>;
    /** Read-only, for trackers. */
    on?(event: Envelope): void;
  };
}

/** A server of the pipeline, as declared. */
export interface ServerSpec {
  name: string;
  [key: string]: unknown;
}

/** A session that discovery may use; closed by the runner. */
export type Connect = (server: ServerSpec) => Promise<Catalog>;

/** What a scenario source is told when it previews. */
export interface PreviewArgs {
  /** Absolute folder of the pipeline file. */
  base_dir: string;
  /** Parts of which every scenario must have one; empty where nothing is known of that. */
  judged_by: ScenarioPart[];
}

/** A plugin: a plain object; `create` does no I/O at import and may return `Symbol.asyncDispose`. */
export interface Plugin<K extends Kind = Kind> {
  kind: K;
  name: string;
  summary: string;
  /** Schema of `with:`; every field described, with a default or an example. */
  // deno-lint-ignore no-explicit-any -- the schema's own output type reaches `create` through definePlugin
  config: z.ZodType<any>;
  examples: { title: string; with: JsonObject }[];
  /**
   * Of a judge: the parts of a scenario of which it needs one to decide; none where it decides nothing. Left out where it
   * judges by anything else.
   */
  // deno-lint-ignore no-explicit-any -- see config
  judges_by?(config: any): ScenarioPart[];
  /**
   * Of a scenario source: its scenarios as they can be read without servers, for `hone validate` and before a run starts.
   * Throws a HoneError with all problems, scenarios without what judges need among them.
   */
  // deno-lint-ignore no-explicit-any -- see config
  preview?(config: any, args: PreviewArgs): Promise<Scenario[]>;
  // deno-lint-ignore no-explicit-any -- see config
  create(context: Context<any>): (Roles[K] & Partial<AsyncDisposable>) | Promise<Roles[K] & Partial<AsyncDisposable>>;
}

/**
 * Types a plugin: infers `config` from the schema and checks the role by `kind`.
 * @example
 * ```ts
 * const plugin: Plugin<"judge"> = definePlugin({ kind: "judge", name: "always", summary: "…", config: z.strictObject({}),
 *   examples: [{ title: "As it is", with: {} }],
 *   create: () => ({ scale: "absolute", decisive: true, judge: (group) => group.map(() => ({ score: 1, reason: "always" })) }) });
 * export default plugin;
 * ```
 */
export function definePlugin<K extends Kind, S extends z.ZodType>(
  plugin: Omit<Plugin<K>, "config" | "create" | "judges_by" | "preview"> & {
    config: S;
    judges_by?(config: z.output<S>): ScenarioPart[];
    preview?(config: z.output<S>, args: PreviewArgs): Promise<Scenario[]>;
    create(
      context: Context<z.output<S>>,
    ): (Roles[K] & Partial<AsyncDisposable>) | Promise<Roles[K] & Partial<AsyncDisposable>>;
  },
): Plugin<K> {
  return plugin;
}
