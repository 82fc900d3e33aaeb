/**
 * The run's client for language models. Every request is recorded, answered from the cache or the tape if possible, and
 * counted against the run's limits; replies are redacted before anyone sees them, including the calling plugin.
 * Concurrent equal requests are sent once. Independent of bus and store: calls are passed to `record`.
 * @module
 */
import { mapTexts, redact } from "../common/redact.ts";
import { type Diagnostic, HoneError } from "../diagnostics/mod.ts";
import type { JsonObject, LlmCall } from "../events.ts";
import type { Llm, LlmReply, LlmRequest, Log } from "../plugin.ts";
import type { LlmTape } from "../tape/tape.ts";
import { Budget, costOf, type Spent } from "./budget.ts";
import { type Effort, EndpointClient } from "./endpoint_client.ts";
import { Flight } from "./flight.ts";
import { type Question, questionOf } from "./question.ts";
import { ReplyCache } from "./reply_cache.ts";
import { usableReply } from "./usable_reply.ts";

/** Options of a client. */
export interface LlmClientOptions {
  /** Publishes a call. A reply is returned only after this promise resolves: it is then on disk. */
  record(call: LlmCall, cause?: number): Promise<void> | void;
  /** `limits.llm_calls`, `limits.llm_tokens` and `limits.usd`. Default: no limits. */
  limits?: Partial<Spent>;
  /** Use by earlier starts of the run: `spentBefore(store)`. */
  spent?: Spent;
  /** Absolute folder of hone's cache; replies are stored below it, in `llm/`. */
  cache_dir: string;
  /** The run's tape, if it has one. */
  tape?: LlmTape | null;
  /** Maximum number of concurrent requests. Default: 8. */
  at_once?: number;
  /** Logs once if the cache cannot be written. */
  log?: Pick<Log, "warn">;
}

/** The calling stage, and the event that it is handling. */
interface Asker {
  stage: string;
  cause: number | undefined;
}

const REQUESTS_AT_ONCE = 8;
const NOBODY: Effort = { tries: 0, seconds: 0, prompt_tokens: 0, output_tokens: 0 };

/** Client for language models of all stages of one run. */
export class LlmClient {
  readonly #budget: Budget;
  readonly #endpoints: EndpointClient;
  readonly #cache: ReplyCache;
  readonly #flights = new Map<string, Flight<LlmReply>>();

  constructor(private readonly options: LlmClientOptions) {
    const { limits = {}, spent, cache_dir, at_once = REQUESTS_AT_ONCE, log } = options;
    this.#budget = new Budget(limits, spent);
    this.#endpoints = new EndpointClient(at_once, this.#budget);
    this.#cache = new ReplyCache(cache_dir, log);
  }

  /**
   * The client of one stage: its id is recorded with each call, its signal aborts waiting and the request; `cause` is
   * the number of the event that the stage is handling.
   */
  for(stage: string, signal: AbortSignal, cause?: number): Llm {
    return { ask: (request) => this.#ask({ stage, cause }, request, signal) };
  }

  /** What the run has used, including earlier starts. */
  get spent(): Spent {
    return this.#budget.spent;
  }

  async #ask(asker: Asker, request: LlmRequest, signal: AbortSignal): Promise<LlmReply> {
    signal.throwIfAborted();
    const question = questionOf(request);
    // A flight records its call for the stage that started it; all other replies are recorded here.
    const mine = { recorded: false };
    const ask = async () => {
      try {
        return await this.#shared(asker, question, signal, mine);
      } catch (error) {
        // The abort reason may be a HoneError, which is not a result of the request.
        throw signal.aborted ? new Error("stopped") : error;
      }
    };
    const { tape } = this.options;
    let reply: LlmReply;
    try {
      reply = await (tape ? tape.answered({ stage: asker.stage, request: question.content }, ask) : ask());
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof HoneError && !mine.recorded) await this.#record(asker, question, NOBODY, error);
      throw error;
    }
    if (!mine.recorded) await this.#record(asker, question, NOBODY, reply);
    return reply;
  }

  /** The reply to a request that others may be waiting for too. */
  async #shared(asker: Asker, question: Question, signal: AbortSignal, mine: Recorded): Promise<LlmReply> {
    const { key } = question;
    const under_way = this.#flights.get(key);
    if (under_way && !under_way.abandoned) return { ...await under_way.join(signal), seconds: 0, cached: true };
    const flight = new Flight((stop) => this.#fly(asker, question, stop, mine));
    this.#flights.set(key, flight);
    flight.ended.then(() => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    });
    return await flight.join(signal);
  }

  async #fly(asker: Asker, question: Question, signal: AbortSignal, mine: Recorded): Promise<LlmReply> {
    const uses_cache = !this.options.tape?.replays;
    const known = uses_cache ? await this.#cache.read(question.key) : undefined;
    if (known && (question.request.schema === undefined || known.json !== undefined)) return known;
    signal.throwIfAborted();
    mine.recorded = true;
    const effort = { ...NOBODY };
    let reply: LlmReply;
    try {
      const usable = await usableReply(this.#endpoints, question, effort, signal);
      const { tries: _, ...counts } = effort;
      reply = { ...usable, ...counts, cached: false };
    } catch (error) {
      const told = error instanceof HoneError && !signal.aborted ? cleanError(error) : undefined;
      if (told || effort.tries > 0) await this.#record(asker, question, effort, told);
      throw told ?? error;
    }
    if (uses_cache) await this.#cache.write(question.key, reply);
    await this.#record(asker, question, effort, reply);
    return reply;
  }

  /** Records the result of a request; a cancelled one has none. */
  async #record(
    { stage, cause }: Asker,
    question: Question,
    effort: Effort,
    came?: LlmReply | HoneError,
  ): Promise<void> {
    const { endpoint } = question.request;
    const { api, model } = endpoint;
    const failed = came instanceof HoneError ? came : undefined;
    const reply = came instanceof HoneError ? undefined : came;
    const { prompt_tokens, output_tokens } = reply ?? effort;
    const sent = effort.tries > 0 ? { prompt_tokens, output_tokens } : NOBODY;
    await this.options.record({
      stage,
      api,
      model,
      key: question.key,
      cached: reply?.cached ?? false,
      outcome: reply ? "ok" : failed?.code ?? "cancelled",
      prompt_tokens,
      output_tokens,
      seconds: reply?.seconds ?? effort.seconds,
      tries: effort.tries,
      request: mapTexts(question.content, redact),
      reply: reply ? shown(reply) : failed ? { error: { code: failed.code, message: failed.message } } : null,
      usd: costOf(endpoint, sent),
    }, cause);
  }
}

/** Whether the event of a request is published by the flight that it started. */
interface Recorded {
  recorded: boolean;
}

function shown({ text, json, model }: LlmReply): JsonObject {
  return { text, ...(json !== undefined && { json }), model };
}

function cleanError({ diagnostics }: HoneError): HoneError {
  return new HoneError(diagnostics.map((one): Diagnostic => ({
    ...one,
    message: redact(one.message),
    ...(one.hint !== undefined && { hint: redact(one.hint) }),
  })));
}
