/**
 * What an audit may cost, before anything is asked: from what the run recorded of its judge's requests, otherwise from
 * the length of the sampled rollouts.
 * @module
 */
import { CHARS_PER_TOKEN } from "../chat/tool_text.ts";
import { endpointsIn } from "../config/endpoint_prices.ts";
import type { LoadedStage } from "../config/pipeline_file.ts";
import { costOf } from "../llm/budget.ts";
import type { Store } from "../store/store.ts";
import type { AuditedGroup } from "./sample.ts";

/** An estimate of the most: requests that are answered from the cache cost nothing. */
export interface AuditForecast {
  /** Requests to language models. */
  requests: number;
  tokens: number;
  /** In US dollars; null if the judge's endpoint states no price. */
  usd: number | null;
}

/** A judge, and how often it is asked. */
export interface Asked {
  stage: LoadedStage;
  scale: "absolute" | "relative";
  /** Askings about a group, and rollouts that are new in them. */
  asks: { groups: number; rollouts: number };
}

/** Tokens of instructions and of a reply, where no earlier request says. */
const GUESS = { instructions: 400, reply: 200 };

/** The forecast for one judge. */
export async function forecastOf(store: Store, { stage, scale, asks }: Asked, groups: AuditedGroup[]) {
  const [earlier] = await store.query(
    `SELECT count(*) AS requests, avg(prompt_tokens) AS prompt_tokens, avg(output_tokens) AS output_tokens,
       (SELECT count(*) FROM judgements WHERE judge = $1 AND abstain IS NULL) AS judgements
     FROM llm_calls WHERE stage = $1 AND outcome = 'ok'`,
    [stage.id],
  );
  const known = Number(earlier?.requests ?? 0) > 0 && Number(earlier?.judgements) > 0;
  const endpoints = endpointsIn(stage.with).map(({ endpoint }) => endpoint);
  if (!known && endpoints.length === 0) return { requests: 0, tokens: 0, usd: 0 };
  const units = scale === "absolute" ? asks.rollouts : asks.groups;
  const group_size = groups.reduce((sum, { group }) => sum + group.length, 0) / Math.max(1, groups.length);
  const rate = known ? Number(earlier!.requests) / Number(earlier!.judgements) : 0;
  const requests = Math.ceil(
    !known ? units : scale === "absolute" ? rate * units : Math.max(units, rate * units * group_size),
  );
  const each = known
    ? { prompt_tokens: Number(earlier!.prompt_tokens), output_tokens: Number(earlier!.output_tokens) }
    : guessed(groups, scale === "absolute" ? 1 : group_size);
  const [endpoint] = endpoints;
  const cost = endpoint ? costOf(endpoint, each) : null;
  return {
    requests,
    tokens: Math.round(requests * (each.prompt_tokens + each.output_tokens)),
    usd: cost === null ? null : requests * cost,
  };
}

function guessed(groups: AuditedGroup[], rollouts: number) {
  const lengths = groups.flatMap(({ group }) =>
    group.map(({ turns, tool_calls }) =>
      JSON.stringify([turns.map(({ input, text }) => [input, text]), tool_calls]).length
    )
  );
  const mean = lengths.reduce((sum, length) => sum + length, 0) / Math.max(1, lengths.length);
  return {
    prompt_tokens: GUESS.instructions + rollouts * mean / CHARS_PER_TOKEN,
    output_tokens: GUESS.reply * rollouts,
  };
}
