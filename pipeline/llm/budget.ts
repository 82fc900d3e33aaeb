/**
 * What a run may ask of language models: `limits.llm_calls` counts questions that an endpoint was asked, however often,
 * and `limits.llm_tokens` what their requests and answers came to. Answers from the cache or from a tape cost nothing.
 * @module
 */
import { HoneError, llm as say } from "../diagnostics/mod.ts";
import type { Store } from "../store/store.ts";

/** What was spent. */
export interface Spent {
  calls: number;
  tokens: number;
}

/** The limits of one run, and what is left of them. */
export class Budget {
  #calls: number;
  #tokens: number;

  constructor(private readonly limits: Partial<Spent>, { calls, tokens }: Spent = { calls: 0, tokens: 0 }) {
    this.#calls = calls;
    this.#tokens = tokens;
  }

  get spent(): Spent {
    return { calls: this.#calls, tokens: this.#tokens };
  }

  /** Before each request; the `first` one of a question counts it. Throws a HoneError where a limit is used up. */
  take(model: string, first: boolean): void {
    const { calls, tokens } = this.limits;
    if (first && calls !== undefined && this.#calls >= calls) throw new HoneError(say.limit(model, "llm_calls", calls));
    if (tokens !== undefined && this.#tokens >= tokens) throw new HoneError(say.limit(model, "llm_tokens", tokens));
    if (first) this.#calls++;
  }

  /** After each answer. */
  add(tokens: number): void {
    this.#tokens += tokens;
  }
}

/** What the earlier starts of a run spent. */
export async function spentBefore(store: Pick<Store, "query">): Promise<Spent> {
  const [row] = await store.query(
    "SELECT count(*) AS calls, coalesce(sum(prompt_tokens + output_tokens), 0) AS tokens FROM llm_calls WHERE tries > 0",
  );
  return { calls: Number(row?.calls ?? 0), tokens: Number(row?.tokens ?? 0) };
}
