/**
 * Talks to an OpenAI-compatible endpoint, one turn at a time and never streaming: `return_token_ids` is only reliable
 * that way. Whatever a server leaves out of its answer is left out here too; retries stay within the caller's signal.
 * @module
 */
import { chat as say, type Diagnostic, HoneError } from "../diagnostics.ts";
import type { ChatMessage, JsonObject, ToolSpec, TurnRecord } from "../events.ts";
import type { Policy } from "../plugin.ts";
import { pause, within } from "./deadline.ts";

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
  native_calls?: ({ id: string; name: string } & ({ arguments: JsonObject } | { invalid: string }))[];
  prompt_token_ids?: Int32Array;
  output_token_ids?: Int32Array;
  logprobs?: Float32Array;
  finish_reason: TurnRecord["finish_reason"];
  usage: { prompt_tokens: number; output_tokens: number; cached_tokens: number };
  /** From sending the request that succeeded to having read its answer. */
  seconds: number;
}

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
    return this.status === 400 &&
      /context_length_exceeded|context length|maximum context|too many tokens/i.test(this.reason);
  }
}

const TRIES = 5;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 20_000;

/** Samples one turn. Throws EndpointError, or the signal's reason. */
export async function complete(request: CompletionRequest): Promise<Completion> {
  const { policy, signal } = request;
  const body = JSON.stringify(requestBody(request));
  for (let attempt = 1;; attempt++) {
    const started = performance.now();
    try {
      return reading(await post(policy, "/chat/completions", body, signal), policy, started);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof EndpointError) || !retryable(error.status) || attempt === TRIES) throw error;
      await pause(waitFor(attempt, error.retry_after), signal);
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
    model,
    messages: messages as unknown as JsonObject[],
    max_tokens,
    temperature: sampling.temperature,
    top_p: sampling.top_p,
    seed,
    ...(tokens === "exact" ? { logprobs: true, return_token_ids: true } : {}),
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
    const cause = error instanceof Error ? error.message : String(error);
    throw new EndpointError(say.endpoint_unreachable(url, cause), 0, cause, { cause: error });
  }
  if (!response.ok) throw refused(url, response, text);
  try {
    return JSON.parse(text) as Answer;
  } catch {
    throw new EndpointError(say.endpoint_unreadable(url, text), response.status, "not JSON");
  }
}

function refused(url: string, response: Response, text: string): EndpointError {
  let reason = text.slice(0, 500);
  try {
    const { error } = JSON.parse(text);
    reason = [error?.code, error?.message ?? error].filter((part) => typeof part === "string").join(": ") || reason;
  } catch {
    // the body is not OpenAI's; its text says as much as there is
  }
  const error = new EndpointError(say.endpoint_refused(url, response.status, reason), response.status, reason);
  const after = Number(response.headers.get("retry-after"));
  if (after > 0) error.retry_after = after * 1000;
  return error;
}

/** No answer at all, overload and outages pass; what the endpoint refuses for good does not. */
function retryable(status: number): boolean {
  return status === 0 || status === 408 || status === 409 || status === 429 || status >= 500;
}

function waitFor(attempt: number, asked: number | undefined): number {
  const longest = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
  return asked === undefined
    ? Math.random() * longest
    : Math.min(asked, LONGEST_WAIT_MS) + Math.random() * FIRST_WAIT_MS;
}

/** The parts of a chat completion that hone reads; any of them may be missing. */
interface Answer {
  prompt_token_ids?: number[];
  choices?: {
    finish_reason?: string;
    token_ids?: number[];
    logprobs?: { content?: { logprob: number }[] | null } | null;
    message?: {
      content?: string | null;
      reasoning?: string | null;
      reasoning_content?: string | null;
      tool_calls?: { id?: string; function?: { name?: string; arguments?: string | JsonObject } }[] | null;
    };
  }[];
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  };
}

function reading(answer: Answer, policy: Policy, started: number): Completion {
  const choice = answer.choices?.[0];
  const message = choice?.message;
  if (!choice || !message) {
    throw new EndpointError(say.endpoint_unreadable(policy.base_url, JSON.stringify(answer)), 200, "no choices");
  }
  const prompt_ids = answer.prompt_token_ids;
  const output_ids = choice.token_ids;
  const logprobs = choice.logprobs?.content;
  const reasoning = message.reasoning ?? message.reasoning_content;
  return {
    text: message.content ?? "",
    ...(reasoning ? { reasoning } : {}),
    ...(message.tool_calls?.length ? { native_calls: message.tool_calls.map(nativeCall) } : {}),
    ...(prompt_ids ? { prompt_token_ids: Int32Array.from(prompt_ids) } : {}),
    ...(output_ids ? { output_token_ids: Int32Array.from(output_ids) } : {}),
    ...(logprobs ? { logprobs: Float32Array.from(logprobs, ({ logprob }) => logprob) } : {}),
    finish_reason: finish(choice.finish_reason),
    usage: {
      prompt_tokens: answer.usage?.prompt_tokens ?? prompt_ids?.length ?? 0,
      output_tokens: answer.usage?.completion_tokens ?? output_ids?.length ?? 0,
      cached_tokens: answer.usage?.prompt_tokens_details?.cached_tokens ?? 0,
    },
    seconds: (performance.now() - started) / 1000,
  };
}

type Call = NonNullable<NonNullable<NonNullable<Answer["choices"]>[number]["message"]>["tool_calls"]>[number];

function nativeCall(call: Call, index: number): NonNullable<Completion["native_calls"]>[number] {
  const id = call.id ?? `call-${index}`;
  const name = call.function?.name ?? "";
  const written = call.function?.arguments ?? {};
  try {
    const read = typeof written === "string" ? JSON.parse(written || "{}") : written;
    if (read !== null && typeof read === "object" && !Array.isArray(read)) return { id, name, arguments: read };
  } catch {
    // said below, together with arguments of another type
  }
  return { id, name, invalid: `the arguments of ${name} are not a JSON object` };
}

function finish(reason: string | undefined): Completion["finish_reason"] {
  if (reason === "length" || reason === "tool_calls") return reason;
  return reason === "content_filter" || reason === "error" || reason === "abort" ? "error" : "stop";
}
