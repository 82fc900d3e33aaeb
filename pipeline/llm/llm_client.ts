/**
 * The run's one client for language models. Every question is recorded, answered from the cache or the tape where they
 * have it, counted against the run's limits, and free of secrets before anybody sees it, the plugin that asked included.
 * Equal questions at the same time are asked once. Knows neither bus nor store: what was asked goes to `record`.
 * @module
 */
import { mapTexts, redact } from "../common/redact.ts";
import { type Diagnostic, HoneError } from "../diagnostics/mod.ts";
import type { JsonObject, LlmCall } from "../events.ts";
import type { Llm, LlmReply, LlmRequest, Log } from "../plugin.ts";
import type { LlmTape } from "../tape/tape.ts";
import { Budget, type Spent } from "./budget.ts";
import { type Effort, EndpointClient } from "./endpoint_client.ts";
import { Flight } from "./flight.ts";
import { type Question, questionOf } from "./question.ts";
import { ReplyCache } from "./reply_cache.ts";
import { usableReply } from "./usable_reply.ts";

/** What a client is made with. */
export interface LlmClientOptions {
  /** Publishes a call. A reply is given out when what this returns has resolved: it is on disk then. */
  record(call: LlmCall, cause?: number): Promise<void> | void;
  /** `limits.llm_calls` and `limits.llm_tokens`; none when left out. */
  limits?: { calls?: number; tokens?: number };
  /** What earlier starts of the run spent: `spentBefore(store)`. */
  spent?: Spent;
  /** Absolute folder of hone's cache; replies are kept below it, in `llm/`. */
  cache_dir: string;
  /** The run's tape, where it has one. */
  tape?: LlmTape | null;
  /** Most requests at once; 8 when left out. */
  at_once?: number;
  /** Hears once where the cache cannot be written. */
  log?: Pick<Log, "warn">;
}

/** Who asks, and in the handling of which event. */
interface Asker {
  stage: string;
  cause: number | undefined;
}

const REQUESTS_AT_ONCE = 8;
const NOBODY: Effort = { tries: 0, seconds: 0, prompt_tokens: 0, output_tokens: 0 };

/** Asks language models for all stages of one run. */
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
   * The client as one stage has it: its id is recorded as who asked, its signal ends waiting and the request; `cause` is
   * the number of the event that it handles.
   */
  for(stage: string, signal: AbortSignal, cause?: number): Llm {
    return { ask: (request) => this.#ask({ stage, cause }, request, signal) };
  }

  /** What the run has spent, earlier starts included. */
  get spent(): Spent {
    return this.#budget.spent;
  }

  async #ask(asker: Asker, request: LlmRequest, signal: AbortSignal): Promise<LlmReply> {
    signal.throwIfAborted();
    const question = questionOf(request);
    // A flight records the call that it makes for who began it; all other answers are recorded here.
    const mine = { recorded: false };
    const ask = async () => {
      try {
        return await this.#shared(asker, question, signal, mine);
      } catch (error) {
        // What ended the run may be a HoneError, and is no answer.
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

  /** The answer to a question that others may be asking too. */
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

  /** Records what came of a question; nothing did where it was cancelled. */
  async #record(
    { stage, cause }: Asker,
    question: Question,
    effort: Effort,
    came?: LlmReply | HoneError,
  ): Promise<void> {
    const { api, model } = question.request.endpoint;
    const failed = came instanceof HoneError ? came : undefined;
    const reply = came instanceof HoneError ? undefined : came;
    await this.options.record({
      stage,
      api,
      model,
      key: question.key,
      cached: reply?.cached ?? false,
      outcome: reply ? "ok" : failed?.code ?? "cancelled",
      prompt_tokens: reply?.prompt_tokens ?? effort.prompt_tokens,
      output_tokens: reply?.output_tokens ?? effort.output_tokens,
      seconds: reply?.seconds ?? effort.seconds,
      tries: effort.tries,
      request: mapTexts(question.content, redact),
      reply: reply ? shown(reply) : failed ? { error: { code: failed.code, message: failed.message } } : null,
    }, cause);
  }
}

/** Whether the event of a question is published by the flight that it began. */
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
