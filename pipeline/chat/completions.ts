/**
 * Client for an OpenAI-compatible endpoint, one turn at a time and without streaming, because `return_token_ids` is
 * only reliable that way. Fields missing in a response are missing in the result; retries end with the caller's signal.
 * @module
 */
import { chat as say, messageOf } from "../diagnostics/mod.ts";
import type { ChatMessage, Json, JsonObject, ToolSpec, TurnRecord } from "../events.ts";
import type { Policy } from "../plugin.ts";
import { TooLarge } from "../common/bounded_body.ts";
import { pause, within } from "../common/deadline.ts";
import { valueWithoutHanded, withoutHanded } from "../common/redact.ts";
import { readJson } from "./json_text.ts";
import { isObject } from "../common/json.ts";
import { dialectOf, inDialect, learn } from "./dialect.ts";
import { EndpointError, errorIn, type Heard, NO_CHOICES, post, refusalOf, TRIES, waitFor } from "./endpoint_http.ts";
import { type Choice, type OpenAiAnswer, written } from "./openai_answer.ts";

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

/** One sampled turn. Token arrays are present if the endpoint returned them. */
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

/** Samples one turn. Throws EndpointError, or the signal's reason. */
export async function complete(request: CompletionRequest): Promise<Completion> {
  const { policy, signal } = request;
  const dialect = dialectOf(policy);
  const plain = requestBody(request);
  for (let attempt = 1;;) {
    const started = performance.now();
    const body = inDialect(plain, dialect);
    try {
      return reading(await send(policy, "/chat/completions", JSON.stringify(body), signal), policy, started);
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
  await within(5, never, (signal) => send(policy, "/rollouts/release", body, signal)).catch(() => {});
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

async function send(policy: Policy, path: string, body: string, signal: AbortSignal): Promise<OpenAiAnswer> {
  const url = policy.base_url.replace(/\/$/, "") + path;
  const headers: Record<string, string> = { "content-type": "application/json", ...policy.headers };
  if (policy.api_key) headers.authorization = `Bearer ${policy.api_key}`;
  let heard: Heard;
  try {
    heard = await post(url, { headers, body, signal });
  } catch (error) {
    if (error instanceof TooLarge) {
      throw new EndpointError(say.endpoint_too_large(url, error.bytes), 200, "too large", { cause: error });
    }
    const cause = messageOf(error);
    throw new EndpointError(say.endpoint_unreachable(url, cause), 0, cause, { cause: error });
  }
  const { status, text } = heard;
  if (status < 200 || status > 299) throw refused(url, { ...heard, text: withoutHanded(text) });
  try {
    const answer = JSON.parse(text) as OpenAiAnswer | null;
    if (answer !== null && typeof answer === "object") return answer;
  } catch {
    // said below, together with JSON that is no object
  }
  throw new EndpointError(say.endpoint_unreadable(url, withoutHanded(text)), status, "not JSON");
}

function refused(url: string, { status, text, retry_after }: Heard): EndpointError {
  const reason = refusalOf(text);
  const error = new EndpointError(say.endpoint_refused(url, status, reason), status, reason);
  if (retry_after > 0) error.retry_after = retry_after;
  return error;
}

function reading(answer: OpenAiAnswer, policy: Policy, started: number): Completion {
  const error = errorIn(answer);
  if (error) {
    const { status } = error;
    const reason = withoutHanded(error.reason);
    throw new EndpointError(say.endpoint_refused(policy.base_url, status, reason), status, reason);
  }
  const choice = answer.choices?.[0];
  // An endpoint may repeat its own key.
  const message = valueWithoutHanded((choice?.message ?? null) as Json) as Choice["message"];
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
