/**
 * Sends requests to endpoints: limited concurrency, a time limit for each, retries, within the run's budget. Learns
 * once per endpoint which fields or schemas it rejects, and then omits them. Redirects are not followed: they would
 * disclose keys. Secrets that an endpoint echoes are redacted here, before any truncation: a truncated secret would not
 * match.
 * @module
 */
import { pause, TimeUp, within } from "../common/deadline.ts";
import { type Dialect, inDialect, learn, plainDialect } from "../chat/dialect.ts";
import {
  EndpointError,
  errorIn,
  type Heard,
  isContextFull,
  NO_CHOICES,
  post,
  refusalOf,
  TRIES,
  waitFor,
} from "../chat/endpoint_http.ts";
import { readJson } from "../chat/json_text.ts";
import { CHARS_PER_TOKEN } from "../chat/tool_text.ts";
import { TooLarge } from "../common/bounded_body.ts";
import { canonical, isObject } from "../common/json.ts";
import { mapTexts, redact } from "../common/redact.ts";
import { Semaphore } from "../common/semaphore.ts";
import { HoneError, llm as say, messageOf } from "../diagnostics/mod.ts";
import type { ChatMessage, Json, JsonObject } from "../events.ts";
import type { Budget } from "./budget.ts";
import type { Said } from "./llm_api.ts";
import { keyOf, type Question } from "./question.ts";
import { withSchema } from "./reply_json.ts";

/** Cost of a request so far, also if it fails. */
export interface Effort {
  /** Number of HTTP requests. */
  tries: number;
  /** Seconds that they took. */
  seconds: number;
  prompt_tokens: number;
  output_tokens: number;
}

/** What was learned about one endpoint. */
interface Known {
  dialect: Dialect;
  /** Schemas to describe in the prompt: the rejected ones, as JSON, or `ALL`. */
  in_words: Set<string>;
}

/** Maximum bytes of a response. */
export const MAX_REPLY_BYTES = 8 * 1024 * 1024;
const TIMEOUT_SECS = 60;
/** Both APIs have rate limits per minute. */
const LONGEST_WAIT_MS = 60_000;
const ALL = "*";

/** The endpoints of one run. */
export class EndpointClient {
  readonly #slots: Semaphore;
  readonly #known = new Map<string, Known>();

  constructor(at_once: number, private readonly budget: Budget) {
    this.#slots = new Semaphore(at_once);
  }

  /**
   * The model's reply to `messages`. `in_words` always describes the schema in the prompt. Throws a HoneError, or the
   * signal's reason.
   */
  async say(
    question: Question,
    { messages, in_words }: { messages: readonly ChatMessage[]; in_words: boolean },
    effort: Effort,
    signal: AbortSignal,
  ): Promise<Said> {
    const known = this.#knownOf(question);
    const { schema, temperature } = question.request;
    let native = schema !== undefined && takesNatively(schema, known);
    let refused: string | undefined;
    for (let attempt = 1;;) {
      const told = schema && (in_words || !native) ? withSchema(messages, schema) : messages;
      const body = inDialect(question.api.body(round(question, told, native ? schema : undefined)), known.dialect);
      try {
        const said = await this.#slots.use(() => this.#send(question, body, effort, signal), signal);
        if (refused !== undefined) known.in_words.add(refused);
        return said;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof EndpointError)) throw error;
        if (learn(known.dialect, body, error, temperature === undefined ? ["temperature"] : [])) continue;
        if (native && refusesSchema(error, question)) {
          native = false;
          refused = /invalid.{0,20}schema/i.test(error.reason) ? canonical(schema!) : ALL;
          continue;
        }
        if (!error.passing || attempt === TRIES) throw error;
        await pause(waitFor(attempt++, error.retry_after, LONGEST_WAIT_MS), signal);
      }
    }
  }

  /** Remembers that an endpoint replied without any JSON: if it accepted the schema, it ignored it. */
  ignoresSchema(question: Question): void {
    const known = this.#knownOf(question);
    const { schema } = question.request;
    if (schema && takesNatively(schema, known)) known.in_words.add(ALL);
  }

  /** A rejection caused by an explicitly requested temperature is not remembered. */
  #knownOf({ url, request: { endpoint, temperature } }: Question): Known {
    const key = JSON.stringify([endpoint.api, url, endpoint.model, temperature === undefined]);
    const known = this.#known.get(key) ?? { dialect: plainDialect(), in_words: new Set() };
    this.#known.set(key, known);
    return known;
  }

  async #send(question: Question, body: JsonObject, effort: Effort, signal: AbortSignal): Promise<Said> {
    const { url, api, request: { endpoint } } = question;
    const asked = { model: endpoint.model, url };
    const headers = headersOf(question);
    this.budget.take(endpoint, effort.tries === 0);
    effort.tries++;
    const started = performance.now();
    const text = JSON.stringify(body);
    let heard: Heard;
    try {
      heard = await heardWithin(question, { headers, body: text, redirect: "manual" }, signal);
    } finally {
      effort.seconds += (performance.now() - started) / 1000;
    }
    const answer = answerOf(question, heard);
    const said = saidIn(question, answer);
    const used = said?.usage ?? estimate(text, said?.text ?? "");
    effort.prompt_tokens += used.prompt_tokens;
    effort.output_tokens += used.output_tokens;
    this.budget.add(endpoint, used);
    if (said) return said;
    throw new EndpointError(say.unreadable(asked, api.answer, shown(answer)), heard.status, NO_CHOICES);
  }
}

function round(question: Question, messages: readonly ChatMessage[], schema: JsonObject | undefined) {
  const { endpoint: { model, body = {} }, max_tokens, temperature = 0, seed } = question.request;
  return {
    model,
    messages,
    max_tokens,
    temperature,
    body,
    ...(seed !== undefined && { seed }),
    ...(schema && { schema }),
  };
}

/** Whether a schema is sent to the endpoint: both APIs accept only schemas of objects. */
function takesNatively(schema: JsonObject, { in_words }: Known): boolean {
  return schema.type === "object" && !in_words.has(ALL) && !in_words.has(canonical(schema));
}

function refusesSchema({ status, reason }: EndpointError, { api }: Question): boolean {
  return [400, 404, 415, 422, 501].includes(status) && api.schema_words.test(reason);
}

function headersOf({ api, basic, url, request: { endpoint } }: Question): Headers {
  const asked = { model: endpoint.model, url };
  const key = keyOf(endpoint);
  if (endpoint.api_key_env && key === undefined) throw new HoneError(say.key_missing(asked, endpoint.api_key_env));
  try {
    const headers = new Headers({ "content-type": "application/json", ...(basic && { authorization: basic }) });
    const own = Object.entries(api.headers(key));
    for (const [name, value] of [...own, ...Object.entries(endpoint.headers ?? {})]) headers.set(name, value);
    return headers;
  } catch (error) {
    throw new HoneError(say.unreachable(asked, redact(messageOf(error))));
  }
}

async function heardWithin(
  { url, request: { endpoint, timeout_secs = TIMEOUT_SECS } }: Question,
  sent: { headers: Headers; body: string; redirect: "manual" },
  signal: AbortSignal,
): Promise<Heard> {
  const asked = { model: endpoint.model, url };
  return await within(timeout_secs, signal, async (inner) => {
    try {
      return await post(url, { ...sent, signal: inner, max_bytes: MAX_REPLY_BYTES });
    } catch (error) {
      signal.throwIfAborted();
      if (inner.reason instanceof TimeUp) {
        throw new EndpointError(say.timeout(asked, timeout_secs), 0, "no answer in time");
      }
      if (error instanceof TooLarge) throw new EndpointError(say.too_large(asked, error.bytes), 200, "too large");
      const cause = redact(messageOf(error));
      throw new EndpointError(say.unreachable(asked, cause), 0, cause);
    }
  });
}

/** The response as JSON. Throws an EndpointError for an error response, or if it is not a JSON object. */
function answerOf(question: Question, { status, text, retry_after }: Heard): JsonObject {
  const { url, api, request: { endpoint } } = question;
  const asked = { model: endpoint.model, url };
  const refuse = (status: number, given: string) => {
    const reason = redact(given);
    const told = isContextFull(status, reason)
      ? say.context_full(asked, reason)
      : say.endpoint_refused(asked, status, reason, endpoint.api_key_env);
    const error = new EndpointError(told, status, reason);
    if (retry_after > 0) error.retry_after = retry_after;
    return error;
  };
  if (status < 200 || status > 299) throw refuse(status, refusalOf(redact(text)));
  const read = readJson(text);
  if (!("value" in read) || !isObject(read.value)) {
    const body = "value" in read ? shown(read.value) : redact(text);
    throw new EndpointError(say.unreadable(asked, api.answer, body), status, "not JSON");
  }
  const error = errorIn(read.value);
  if (error) throw refuse(error.status, error.reason);
  return read.value;
}

function saidIn({ url, api, request: { endpoint } }: Question, answer: JsonObject): Said | undefined {
  try {
    const said = api.read(answer);
    return said && mapTexts(said as unknown as Json, redact) as unknown as Said;
  } catch {
    // Does not match the API's response format.
    const asked = { model: endpoint.model, url };
    throw new EndpointError(say.unreadable(asked, api.answer, shown(answer)), 200, "not of its API");
  }
}

function shown(answer: Json): string {
  return JSON.stringify(mapTexts(answer, redact));
}

function estimate(sent: string, said: string): NonNullable<Said["usage"]> {
  const tokens = (text: string) => Math.ceil(text.length / CHARS_PER_TOKEN);
  return { prompt_tokens: tokens(sent), output_tokens: tokens(said) };
}
