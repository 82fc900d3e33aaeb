/**
 * Asks judges about the recorded rollouts of a run that has ended, outside of a run: nothing is recorded, and replies of
 * language models are cached.
 * @module
 */
import { cacheDir } from "../common/cache_dir.ts";
import type { Judgement, LlmCall } from "../events.ts";
import { LlmClient, type LlmClientOptions } from "../llm/mod.ts";
import type { Log } from "../plugin.ts";
import { recordedCatalog } from "../store/recorded.ts";
import type { Store } from "../store/store.ts";
import { askJudge, type Question } from "./bindings/bind_judge.ts";
import type { StagedJudge } from "./context.ts";

/** Concurrent requests to judges. */
export const JUDGED_AT_ONCE = 8;

/** What asking has cost so far; `usd` is null if a request had no price. */
export interface AskingCost {
  requests: number;
  cached: number;
  tokens: number;
  usd: number | null;
}

/** Judges of one run's records. */
export interface RecordedJudges {
  /** One judgement for each rollout of the group. Throws only if the signal is aborted. */
  ask(judge: StagedJudge, question: Pick<Question, "scenario" | "group">): Promise<Judgement[]>;
  cost(): AskingCost;
}

/** Makes judges ready to be asked about the rollouts in `store`. */
export async function recordedJudges(
  store: Store,
  { limits, log, signal }: { limits: LlmClientOptions["limits"]; log: Log; signal: AbortSignal },
): Promise<RecordedJudges> {
  const calls: LlmCall[] = [];
  const client = new LlmClient({ record: (call) => void calls.push(call), limits, cache_dir: cacheDir(), log });
  const catalog = await recordedCatalog(store) ?? { servers: [], tools: [], schema_hash: "" };
  const llm = (id: string, ends: AbortSignal) => client.for(id, ends);
  return {
    ask: (judge, question) => askJudge({ llm, catalog, store }, judge, { ...question, purpose: "train", signal }),
    cost: () => costOf(calls),
  };
}

function costOf(calls: LlmCall[]): AskingCost {
  const sent = calls.filter(({ tries }) => tries > 0);
  const priced = sent.every(({ usd }) => usd !== null);
  return {
    requests: sent.length,
    cached: calls.filter(({ cached }) => cached).length,
    tokens: sent.reduce((sum, { prompt_tokens, output_tokens }) => sum + prompt_tokens + output_tokens, 0),
    usd: priced ? sent.reduce((sum, { usd }) => sum + (usd ?? 0), 0) : null,
  };
}
