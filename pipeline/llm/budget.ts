/**
 * A run's budget for language models: `limits.llm_calls` counts requests, each once including its retries, and
 * `limits.llm_tokens` their prompt and reply tokens. Replies from the cache or a tape are not counted.
 * @module
 */
import { HoneError, llm as say } from "../diagnostics/mod.ts";
import type { Store } from "../store/store.ts";

/** Used calls and tokens. */
export interface Spent {
  calls: number;
  tokens: number;
}

/** The limits of one run and their use. */
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

  /** Called before each try; the `first` one counts as a call. Throws a HoneError if a limit is used up. */
  take(model: string, first: boolean): void {
    const { calls, tokens } = this.limits;
    if (first && calls !== undefined && this.#calls >= calls) throw new HoneError(say.limit(model, "llm_calls", calls));
    if (tokens !== undefined && this.#tokens >= tokens) throw new HoneError(say.limit(model, "llm_tokens", tokens));
    if (first) this.#calls++;
  }

  /** Called after each reply. */
  add(tokens: number): void {
    this.#tokens += tokens;
  }
}

/** Calls and tokens used by earlier starts of a run. */
export async function spentBefore(store: Pick<Store, "query">): Promise<Spent> {
  const [row] = await store.query(
    "SELECT count(*) AS calls, coalesce(sum(prompt_tokens + output_tokens), 0) AS tokens FROM llm_calls WHERE tries > 0",
  );
  return { calls: Number(row?.calls ?? 0), tokens: Number(row?.tokens ?? 0) };
}
