/**
 * Types that roles are created with and use: log, context, environment, policy, agent, and the run's client for
 * language models. Part of the plugin API; exported by `plugin.ts`.
 * @module
 */
import type { CallOutcome, CallSpec, ChatMessage, Json, JsonObject, ToolSpec } from "../events.ts";

/** Log of a plugin. Lines go to `run.log`, and with `--verbose` to the terminal. */
export interface Log {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
}

/** Argument of `create`. */
export interface Context<C> {
  /** The stage's `with:`, parsed with the plugin's schema. */
  config: C;
  /** Id of the stage in the pipeline. */
  stage: string;
  log: Log;
  /** Aborted when the run ends or is cancelled. */
  signal: AbortSignal;
  /** Absolute folder of the pipeline file, against which relative paths in settings are resolved. */
  base_dir: string;
}

/** Result of one tool call on a leased environment. Failures are returned, never thrown. */
export interface CallResult {
  outcome: CallOutcome;
  /** All text content, joined, before truncation. */
  text: string;
  /** The MCP result (`content`, `structuredContent`, `isError`) or `{ error: { code, message } }`. */
  result: Json;
  seconds: number;
}

/** The environment that the runner leases to one rollout. */
export interface Environment {
  id: string;
  /** Absolute path of the rollout's own folder, or null if no server uses one. */
  workdir: string | null;
  tools: ToolSpec[];
  /**
   * Calls a tool by the name that the model sees. Never throws. The environment enforces the time limit, because only
   * it receives a tool's progress notifications.
   */
  call(model_name: string, args: JsonObject, options?: { signal?: AbortSignal }): Promise<CallResult>;
  /**
   * Calls a tool for observation or setup, by its name on the server; the agent's tool filters do not apply. With
   * `read_only`, the outcome is `denied` unless the server or `read_only_tools` says that the tool changes nothing.
   */
  observe(call: CallSpec, options?: { read_only?: boolean }): Promise<CallResult>;
}

/** Endpoint and sampling settings of a policy. */
export interface Policy {
  /** `base`, `warm_start`, `tuned`, or a step's name. */
  name: string;
  version: number;
  base_url: string;
  model: string;
  api_key?: string;
  headers?: Record<string, string>;
  /** Additional fields of every request. */
  body?: JsonObject;
  /** `exact`: the endpoint returns prompt ids, output ids and logprobs of the sampled distribution. */
  tokens: "exact" | "none";
  /** True if the endpoint stores ids by rollout handle (hone's own worker). */
  rollout_handles: boolean;
  /**
   * How tools are shown to the model: `native` sends `tools`; for the others, hone renders them in the system prompt.
   */
  tool_format: ToolFormat;
  /** 0 if unknown. */
  context_tokens: number;
  sampling: { temperature: number; top_p: number; max_tokens: number };
}

/** Formats of tool calls that hone parses and renders. */
export type ToolFormat = "native" | "hermes" | "json" | "llama_json" | "qwen_xml" | "pythonic" | "mistral";

/** The pipeline's `agent:` block. */
export interface Agent {
  system_prompt: string;
  examples: ChatMessage[];
  max_turns: number;
  max_tokens: number;
  temperature: number;
  tool_format: ToolFormat | "auto";
  /** Detail of the schemas passed to a template that renders tools. Default: `full`. */
  tool_schemas?: "full" | "compact";
  /** Maximum estimated tokens of the tools offered to a scenario. Default: no limit. */
  tool_budget_tokens?: number;
  complete_task: boolean;
  max_result_chars: number;
  /** Maximum characters of a conversation. Default: as many as fit the policy's context. */
  max_history_chars?: number;
  max_invalid_calls: number;
  max_repeated_calls: number;
  turn_timeout_secs: number;
  tool_timeout_secs: number;
  rollout_timeout_secs: number;
}

/** Price of a language model, in US dollars per million tokens. */
export interface LlmPrice {
  input_per_million: number;
  output_per_million: number;
}

/** Endpoint of a language model, as in a plugin's settings (`llm_endpoint` of `@hone/hone/schemas`). */
export interface LlmEndpoint {
  /** `openai`: any OpenAI-compatible endpoint; `anthropic`: the Anthropic Messages API. */
  api: "openai" | "anthropic";
  /** Base URL: including `/v1` for `openai`; `https://api.anthropic.com` for `anthropic`. */
  base_url: string;
  model: string;
  /** Environment variable that holds the API key. */
  api_key_env?: string;
  headers?: Record<string, string>;
  /** Additional fields of every request. */
  body?: JsonObject;
  /** As declared by the user; does not affect replies. */
  price?: LlmPrice;
}

/** One request to a language model. */
export interface LlmRequest {
  endpoint: LlmEndpoint;
  messages: ChatMessage[];
  max_tokens: number;
  /** Default: 0, or the endpoint's default if it rejects 0. */
  temperature?: number;
  seed?: number;
  /** JSON Schema of the reply: `json` of the reply is valid against it, or the request fails. */
  schema?: JsonObject;
  /** Time limit for one try. Default: 60. */
  timeout_secs?: number;
}

/** Reply of a language model. */
export interface LlmReply {
  text: string;
  /** The reply as JSON, if the request has a schema. */
  json?: Json;
  /** The model, as reported by the endpoint. */
  model: string;
  prompt_tokens: number;
  output_tokens: number;
  /** Seconds of the call; 0 if cached. */
  seconds: number;
  /** True if the reply comes from the cache. */
  cached: boolean;
}

/**
 * The run's client for language models: every call is recorded, cached by content, counted against the run's limits,
 * redacted, and written to the tape.
 */
export interface Llm {
  /**
   * Sends a request. Throws a HoneError if there is no usable reply (the code names the cause: LLM_REFUSED,
   * LLM_CUT_OFF, …) or a limit of the run is used up (LLM_LIMIT), and the reason of the stage's signal if the stage was
   * stopped.
   */
  ask(request: LlmRequest): Promise<LlmReply>;
}
