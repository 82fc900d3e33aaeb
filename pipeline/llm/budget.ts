/**
 * A run's budget for language models: `limits.llm_calls` counts requests, each once including its retries,
 * `limits.llm_tokens` their prompt and reply tokens, and `limits.usd` what those cost at the endpoints' stated prices.
 * Replies from the cache or a tape are not counted.
 * @module
 */
import { HoneError, llm as say } from "../diagnostics/mod.ts";
import type { LlmEndpoint } from "../plugin.ts";
import type { Store } from "../store/store.ts";

/** Used calls and tokens, and their cost in US dollars; endpoints without a price cost nothing. */
export interface Spent {
  calls: number;
  tokens: number;
  usd: number;
}

/** Tokens of a request and of its replies. */
interface Tokens {
  prompt_tokens: number;
  output_tokens: number;
}

/** Cost of tokens in US dollars; null if the endpoint has no price. */
export function costOf({ price }: Pick<LlmEndpoint, "price">, { prompt_tokens, output_tokens }: Tokens): number | null {
  if (!price) return null;
  return (prompt_tokens * price.input_per_million + output_tokens * price.output_per_million) / 1e6;
}

/** The limits of one run and their use. */
export class Budget {
  #calls: number;
  #tokens: number;
  #usd: number;

  constructor(
    private readonly limits: Partial<Spent>,
    { calls, tokens, usd }: Spent = { calls: 0, tokens: 0, usd: 0 },
  ) {
    this.#calls = calls;
    this.#tokens = tokens;
    this.#usd = usd;
  }

  get spent(): Spent {
    return { calls: this.#calls, tokens: this.#tokens, usd: this.#usd };
  }

  /** Called before each try; the `first` one counts as a call. Throws a HoneError if a limit is used up. */
  take({ model, price }: Pick<LlmEndpoint, "model" | "price">, first: boolean): void {
    const { calls, tokens, usd } = this.limits;
    if (first && calls !== undefined && this.#calls >= calls) throw new HoneError(say.limit(model, "llm_calls", calls));
    if (tokens !== undefined && this.#tokens >= tokens) throw new HoneError(say.limit(model, "llm_tokens", tokens));
    if (usd !== undefined && !price) throw new HoneError(say.unpriced(model));
    if (usd !== undefined && this.#usd >= usd) throw new HoneError(say.limit(model, "usd", usd));
    if (first) this.#calls++;
  }

  /** Called after each reply. */
  add(endpoint: Pick<LlmEndpoint, "price">, used: Tokens): void {
    this.#tokens += used.prompt_tokens + used.output_tokens;
    this.#usd += costOf(endpoint, used) ?? 0;
  }
}

/** What earlier starts of a run used. */
export async function spentBefore(store: Pick<Store, "query">): Promise<Spent> {
  const [row] = await store.query(
    `SELECT count(*) AS calls, coalesce(sum(prompt_tokens + output_tokens), 0) AS tokens, coalesce(sum(usd), 0) AS usd
      FROM llm_calls WHERE tries > 0`,
  );
  return { calls: Number(row?.calls ?? 0), tokens: Number(row?.tokens ?? 0), usd: Number(row?.usd ?? 0) };
}
