/**
 * Talks to an OpenAI-compatible endpoint, one turn at a time and never streaming: `return_token_ids` is only reliable
 * that way. Whatever a server leaves out of its answer is left out here too; retries stay within the caller's signal.
 * @module
 */
import { chat as say, type Diagnostic, HoneError, messageOf } from "../diagnostics/mod.ts";
import type { ChatMessage, JsonObject, ToolSpec, TurnRecord } from "../events.ts";
import type { Policy } from "../plugin.ts";
import { pause, within } from "./deadline.ts";
import { readJson } from "./json_text.ts";
import { isObject } from "../common/json.ts";
import { dialectOf, inDialect, learn } from "./dialect.ts";

/** One turn to be sampled. */
export interface CompletionRequest {
  policy: Policy;
  messages: ChatMessage[];
  /** Sent only under `tool_format: native`. */
  tools: readonly ToolSpec[];
  seed: number;
  rollout_id: string;
  max_tokens: number;
  signal: AbortSignal;
}

/** One sampled turn. Token arrays are there when the endpoint gave them. */
export interface Completion {
  /** Raw text, without the end token. */
  text: string;
  /** Thoughts that the endpoint itself took apart. */
  reasoning?: string;
  /** Calls that the endpoint itself read. Arguments that are no JSON object are `invalid`. */
  native_calls?: NativeCall[];
  prompt_token_ids?: Int32Array;
  output_token_ids?: Int32Array;
  logprobs?: Float32Array;
  finish_reason: TurnRecord["finish_reason"];
  /** Version of the weights that answered, where the endpoint says it. */
  policy_version?: number;
  usage: { prompt_tokens: number; output_tokens: number; cached_tokens: number };
  /** From sending the request that succeeded to having read its answer. */
  seconds: number;
}

/** A call that the endpoint took apart; its id is empty where the endpoint gave none. `written` is what it read. */
export type NativeCall =
  & { id: string; name: string; written: string }
  & (
    | { arguments: JsonObject }
    | { invalid: string }
  );

/** An endpoint that could not or would not answer. `status` is 0 where there was no HTTP answer. */
export class EndpointError extends HoneError {
  override name = "EndpointError";
  /** Milliseconds that the endpoint asked to wait before another try. */
  retry_after?: number;

  constructor(diagnostic: Diagnostic, readonly status: number, readonly reason: string, options?: ErrorOptions) {
    super(diagnostic, options);
  }

  /** True where the conversation no longer fits the model's context. */
  get context_full(): boolean {
    return [400, 413, 422].includes(this.status) && CONTEXT_FULL.test(this.reason);
  }

  /** True where the same request may be answered another time: no answer, overload, outages, an empty answer. */
  get passing(): boolean {
    if (/insufficient_quota|billing/i.test(this.reason)) return false;
    return [0, 408, 409, 425, 429].includes(this.status) || this.status >= 500 || this.reason === NO_CHOICES;
  }
}

/** How OpenAI, vLLM, SGLang, llama.cpp, TGI, LM Studio, Gemini and Anthropic say that a conversation is too long. */
const CONTEXT_FULL =
  /context_length_exceeded|exceed_context_size|context (?:length|size|window)|maximum context|too many tokens|prompt is too long|input (?:length|token count|is too long)|max_new_tokens/i;
const NO_CHOICES = "no choices";
const TRIES = 5;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 20_000;

/** Samples one turn. Throws EndpointError, or the signal's reason. */
export async function complete(request: CompletionRequest): Promise<Completion> {
  const { policy, signal } = request;
  const dialect = dialectOf(policy);
  const plain = requestBody(request);
  for (let attempt = 1;;) {
    const started = performance.now();
    const body = inDialect(plain, dialect);
    try {
      return reading(await post(policy, "/chat/completions", JSON.stringify(body), signal), policy, started);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof EndpointError)) throw error;
      if (learn(dialect, body, error)) continue;
      if (!error.passing || attempt === TRIES) throw error;
      await pause(waitFor(attempt++, error.retry_after), signal);
    }
  }
}

/** Lets an endpoint with rollout handles forget this rollout. Never throws: the handle would also age out. */
export async function releaseRollout(policy: Policy, rollout_id: string): Promise<void> {
  if (!policy.rollout_handles) return;
  const body = JSON.stringify({ rollout: rollout_id });
  const never = new AbortController().signal;
  await within(5, never, (signal) => post(policy, "/rollouts/release", body, signal)).catch(() => {});
}

function requestBody({ policy, messages, tools, seed, rollout_id, max_tokens }: CompletionRequest): JsonObject {
  const { model, sampling, tokens, rollout_handles, tool_format } = policy;
  return {
    ...policy.body,
    model,
    messages: messages as unknown as JsonObject[],
    max_tokens,
    temperature: sampling.temperature,
    top_p: sampling.top_p,
    seed,
    ...(tokens === "exact" ? { logprobs: true, return_token_ids: true } : {}),
    // A model's own generation_config may set these, and then what is sampled is not what is trained.
    ...(tokens === "exact" && !rollout_handles ? { top_k: -1, min_p: 0 } : {}),
    ...(rollout_handles ? { rollout: rollout_id } : {}),
    ...(tool_format === "native" && tools.length > 0 ? { tools: tools.map(nativeTool) } : {}),
  };
}

/** A tool as OpenAI's `tools` want it. */
function nativeTool({ model_name, description, input_schema }: ToolSpec): JsonObject {
  return { type: "function", function: { name: model_name, description, parameters: input_schema } };
}

async function post(policy: Policy, path: string, body: string, signal: AbortSignal): Promise<Answer> {
  const url = policy.base_url.replace(/\/$/, "") + path;
  const headers: Record<string, string> = { "content-type": "application/json", ...policy.headers };
  if (policy.api_key) headers.authorization = `Bearer ${policy.api_key}`;
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, { method: "POST", headers, body, signal });
    text = await response.text();
  } catch (error) {
    const cause = messageOf(error);
    throw new EndpointError(say.endpoint_unreachable(url, cause), 0, cause, { cause: error });
  }
  if (!response.ok) throw refused(url, response, text);
  try {
    const answer = JSON.parse(text) as Answer | null;
    if (answer !== null && typeof answer === "object") return answer;
  } catch {
    // said below, together with JSON that is no object
  }
  throw new EndpointError(say.endpoint_unreadable(url, text), response.status, "not JSON");
}

function refused(url: string, response: Response, text: string): EndpointError {
  let reason = text.slice(0, 500);
  try {
    reason = reasonOf(JSON.parse(text).error) || reason;
  } catch {
    // the body is not OpenAI's; its text says as much as there is
  }
  const error = new EndpointError(say.endpoint_refused(url, response.status, reason), response.status, reason);
  const after = retryAfter(response.headers);
  if (after > 0) error.retry_after = after;
  return error;
}

function reasonOf(error: ErrorBody): string {
  if (typeof error !== "object" || error === null) return typeof error === "string" ? error : "";
  const { code, type, param, message } = error;
  const kind = [code, type].find((part) => typeof part === "string");
  return [kind, message, param && !message?.includes(param) ? `(${param})` : undefined]
    .filter((part) => typeof part === "string").join(": ");
}

/** Milliseconds, from seconds, a date, or the header of OpenAI's own. */
function retryAfter(headers: Headers): number {
  const exact = Number(headers.get("retry-after-ms"));
  if (exact > 0) return exact;
  const after = headers.get("retry-after") ?? "";
  const seconds = Number(after);
  return Number.isFinite(seconds) ? seconds * 1000 : Math.max(0, Date.parse(after) - Date.now()) || 0;
}

function waitFor(attempt: number, asked: number | undefined): number {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
  return asked === undefined
    ? Math.random() * longest
    : Math.min(asked, LONGEST_WAIT_MS) + Math.random() * FIRST_WAIT_MS;
}

type ErrorBody =
  | string
  | { code?: string | number | null; type?: string | null; message?: string; param?: string | null }
  | null
  | undefined;

/** The parts of a chat completion that hone reads; any of them may be missing. */
interface Answer {
  prompt_token_ids?: number[] | null;
  policy_version?: number;
  error?: ErrorBody;
  choices?: Choice[] | null;
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
}

interface Choice {
  finish_reason?: string | null;
  token_ids?: number[] | null;
  logprobs?: { content?: { id?: number; logprob: number }[] | null } | null;
  message?: {
    content?: string | { type?: string; text?: string; thinking?: { text?: string }[] | string }[] | null;
    reasoning?: string | null;
    reasoning_content?: string | null;
    tool_calls?: { id?: string | null; function?: { name?: string; arguments?: string | JsonObject | null } }[] | null;
  } | null;
}

function reading(answer: Answer, policy: Policy, started: number): Completion {
  if (answer.error) {
    const reason = reasonOf(answer.error) || JSON.stringify(answer.error);
    const code = typeof answer.error === "object" ? Number(answer.error.code) : NaN;
    // An error in the body of a 200, as routers in front of other endpoints send it.
    const status = code >= 400 && code < 600 ? code : 502;
    throw new EndpointError(say.endpoint_refused(policy.base_url, status, reason), status, reason);
  }
  const choice = answer.choices?.[0];
  const message = choice?.message;
  if (!choice || !message) {
    throw new EndpointError(say.endpoint_unreadable(policy.base_url, JSON.stringify(answer)), 200, NO_CHOICES);
  }
  const prompt_ids = answer.prompt_token_ids;
  const output_ids = choice.token_ids;
  const logprobs = choice.logprobs?.content;
  if (policy.tokens === "exact") checkTokens(policy, prompt_ids, output_ids, logprobs);
  const { text, thoughts } = written(message.content);
  const reasoning = message.reasoning || message.reasoning_content || thoughts;
  return {
    text,
    ...(reasoning ? { reasoning } : {}),
    ...(message.tool_calls?.length ? { native_calls: message.tool_calls.map(nativeCall) } : {}),
    ...(prompt_ids ? { prompt_token_ids: Int32Array.from(prompt_ids) } : {}),
    ...(output_ids ? { output_token_ids: Int32Array.from(output_ids) } : {}),
    ...(logprobs ? { logprobs: Float32Array.from(logprobs, ({ logprob }) => logprob) } : {}),
    finish_reason: finish(choice.finish_reason),
    ...(typeof answer.policy_version === "number" ? { policy_version: answer.policy_version } : {}),
    usage: {
      prompt_tokens: answer.usage?.prompt_tokens ?? prompt_ids?.length ?? 0,
      output_tokens: answer.usage?.completion_tokens ?? output_ids?.length ?? 0,
      cached_tokens: answer.usage?.prompt_tokens_details?.cached_tokens ?? 0,
    },
    seconds: (performance.now() - started) / 1000,
  };
}

function checkTokens(policy: Policy, prompt?: number[] | null, output?: number[] | null, logprobs?: unknown[] | null) {
  const missing = [
    ...(prompt?.length ? [] : ["`prompt_token_ids`"]),
    ...(output ? [] : ["`choices[0].token_ids`"]),
    ...(logprobs && (!output || logprobs.length === output.length)
      ? []
      : ["one of `choices[0].logprobs` for each token"]),
  ];
  if (missing.length === 0) return;
  const diagnostic = say.endpoint_without_tokens(policy.base_url, missing);
  throw new EndpointError(diagnostic, 200, "no token ids");
}

/** Content as text; Mistral's API gives it in parts, thoughts among them. */
function written(content: NonNullable<Choice["message"]>["content"]): { text: string; thoughts: string } {
  if (!Array.isArray(content)) return { text: content ?? "", thoughts: "" };
  const thought = (part: (typeof content)[number]["thinking"]) =>
    typeof part === "string" ? part : (part ?? []).map(({ text = "" }) => text).join("");
  return {
    text: content.map(({ text = "" }) => text).join(""),
    thoughts: content.map(({ thinking }) => thought(thinking)).join(""),
  };
}

function nativeCall(
  { id, function: called }: NonNullable<NonNullable<Choice["message"]>["tool_calls"]>[number],
): NativeCall {
  const name = called?.name ?? "";
  const given = called?.arguments ?? {};
  const text = typeof given === "string" ? given : JSON.stringify(given);
  const call = { id: id ?? "", name, written: text };
  const read = typeof given === "string" ? readJson(given.trim() || "{}") : { value: given };
  return "value" in read && isObject(read.value)
    ? { ...call, arguments: read.value }
    : { ...call, invalid: `the arguments of ${name} are not a JSON object` };
}

function finish(reason: string | null | undefined): Completion["finish_reason"] {
  if (reason === "length" || reason === "tool_calls") return reason;
  return reason === "content_filter" || reason === "error" || reason === "abort" ? "error" : "stop";
}
