/**
 * Shared HTTP code for model endpoints: one POST and its response, messages of error responses, which of them are
 * temporary, and how long to wait before another try. Independent of the API's request and response formats.
 * @module
 */
import { boundedText } from "../common/bounded_body.ts";
import { type Diagnostic, HoneError } from "../diagnostics/mod.ts";

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
    return isContextFull(this.status, this.reason);
  }

  /** True where the same request may be answered another time: no answer, overload, outages, an empty answer. */
  get passing(): boolean {
    if (MONEY.test(this.reason)) return false;
    return [0, 408, 409, 425, 429].includes(this.status) || this.status >= 500 || this.reason === NO_CHOICES;
  }
}

/** Reason of an answer that holds nothing: some servers give one when they are overloaded. */
export const NO_CHOICES = "no choices";
/** Times that one request is sent, at most. */
export const TRIES = 5;

/** How OpenAI, vLLM, SGLang, llama.cpp, TGI, LM Studio, Gemini and Anthropic say that a conversation is too long. */
const CONTEXT_FULL =
  /context_length_exceeded|exceed_context_size|context (?:length|size|window)|maximum context|too many tokens|prompt is too long|input (?:length|token count|is too long)|max_new_tokens/i;
/** Errors that are permanent although their status is 429. */
const MONEY = /insufficient_quota|billing|credit_balance|spend_limit/i;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 20_000;
const SHOWN_CHARS = 500;

/** True where an endpoint says that a conversation does not fit the model's context. */
export function isContextFull(status: number, reason: string): boolean {
  return [400, 413, 422].includes(status) && CONTEXT_FULL.test(reason);
}

/** An HTTP answer, read to its end. */
export interface Heard {
  status: number;
  text: string;
  /** Milliseconds that the endpoint asks to wait before another try; 0 where it asks for nothing. */
  retry_after: number;
}

/** What a POST needs. */
export interface Post {
  headers: HeadersInit;
  body: string;
  signal: AbortSignal;
  /** Maximum bytes of the response. Default: MAX_ANSWER_BYTES. */
  max_bytes?: number;
  /** `manual` returns a redirect to the caller as a response. Default: redirects are followed. */
  redirect?: "manual";
}

/** An answer with the ids and logprobs of a long context is several times smaller. */
export const MAX_ANSWER_BYTES = 64_000_000;

/** Sends JSON. Throws what went wrong on the way, TooLarge, or the signal's reason. */
export async function post(url: string, { max_bytes = MAX_ANSWER_BYTES, ...init }: Post): Promise<Heard> {
  try {
    const response = await fetch(url, { method: "POST", ...init });
    const text = await boundedText(response, max_bytes);
    return { status: response.status, text, retry_after: retryAfter(response.headers) };
  } catch (error) {
    // Of itself it says no more than "fetch failed".
    throw error instanceof TypeError && error.cause instanceof Error ? error.cause : error;
  }
}

/** The body of a refusal in words: its error where it has one, else the beginning of its text. */
export function refusalOf(text: string): string {
  try {
    return reasonOf(JSON.parse(text).error) || text.slice(0, SHOWN_CHARS);
  } catch {
    // the body is not of an API; its text says as much as there is
    return text.slice(0, SHOWN_CHARS);
  }
}

/** The error of an answer, as OpenAI, Anthropic and those who follow them write it. */
export type ErrorBody =
  | string
  | {
    code?: string | number | null;
    type?: string | null;
    message?: string;
    param?: string | null;
    details?: { error_code?: string } | null;
  }
  | null
  | undefined;

/** An error in words; empty where it says nothing. */
export function reasonOf(error: ErrorBody): string {
  if (typeof error !== "object" || error === null) return typeof error === "string" ? error : "";
  const { code, type, param, message, details } = error;
  const kind = [code, details?.error_code, type].find((part) => typeof part === "string");
  const named = typeof param === "string" && param !== "" && !String(message ?? "").includes(param);
  return [kind, message, named ? `(${param})` : undefined].filter((part) => typeof part === "string").join(": ");
}

/** An error in the body of a 200, as routers in front of other endpoints send it; undefined where there is none. */
export function errorIn({ error }: { error?: ErrorBody }): { status: number; reason: string } | undefined {
  if (!error) return undefined;
  const code = typeof error === "object" ? Number(error.code) : NaN;
  return { status: code >= 400 && code < 600 ? code : 502, reason: reasonOf(error) || JSON.stringify(error) };
}

/**
 * Milliseconds before try `attempt + 1`: what the endpoint asked for, or more with each attempt; never above `longest`.
 */
export function waitFor(attempt: number, asked: number | undefined, longest = LONGEST_WAIT_MS): number {
  const most = Math.min(longest, FIRST_WAIT_MS * 2 ** (attempt - 1));
  return asked === undefined ? Math.random() * most : Math.min(asked, longest) + Math.random() * FIRST_WAIT_MS;
}

/** Milliseconds, from seconds, a date, or the header of OpenAI's own. */
function retryAfter(headers: Headers): number {
  const exact = Number(headers.get("retry-after-ms"));
  if (exact > 0) return exact;
  const after = headers.get("retry-after") ?? "";
  const seconds = Number(after);
  return Number.isFinite(seconds) ? seconds * 1000 : Math.max(0, Date.parse(after) - Date.now()) || 0;
}
