/**
 * What roles of every kind are made with and work on: log, context, environment, policy, agent, and the run's client for
 * language models. Part of the contract in `plugin.ts`, from where it is imported.
 * @module
 */
import type { CallOutcome, CallSpec, ChatMessage, Json, JsonObject, ToolSpec } from "../events.ts";

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
