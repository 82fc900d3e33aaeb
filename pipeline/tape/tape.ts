/**
 * The interface of a tape for the runner, for recording and replay: environments in place of the pool's, the policy's
 * address for a rollout, observations, language models' replies to stages, and how a rollout ended. Transparent to
 * rollout and judge plugins.
 * @module
 */
import type { Json, JsonObject, Outcome } from "../events.ts";
import type { Environments, Lease } from "../mcp/pool/pool.ts";
import type { Environment, LlmReply, Policy } from "../plugin.ts";

/** A question that a stage put to a language model. */
export interface LlmQuestion {
  stage: string;
  /** All that the answer depends on; no key and no header. */
  request: JsonObject;
}

/** What the run's client for language models needs of a tape. */
export interface LlmTape {
  /** True where questions are answered from the tape: then nothing is read from hone's cache, or written there. */
  readonly replays: boolean;
  /**
   * The answer to a question: what `ask` gives, or what the tape has. Throws what `ask` throws, what went wrong when
   * the tape was recorded, or a HoneError (TAPE_MISS) where the tape does not have the question.
   */
  answered(question: LlmQuestion, ask: () => Promise<LlmReply>): Promise<LlmReply>;
}

/** A tape that a run records or replays. */
export interface Tape extends AsyncDisposable, LlmTape {
  environments: Environments;
  /** The policy for this rollout: the same, reached by another address where replies are on the tape. */
  policy(lease: Lease, policy: Policy): Policy;
  /**
   * Looks at the environment before the agent acts; what is done there is not recorded, because the judge's observation
   * has what comes of it. A replay looks only where, and when, it goes live.
   */
  beforehand(lease: Lease, look: (environment: Environment) => Promise<void>): Promise<void>;
  /** What a judge observes of this environment. */
  observed(lease: Lease, judge: string, observe: () => Promise<Json>): Promise<Json>;
  /** How the rollout ended: as the plugin says, or because the tape did not have what it asked for. */
  settled(lease: Lease, outcome: Outcome): Outcome;
}

/** Arguments of a lease. */
export type LeaseArgs = Parameters<Environments["lease"]>[0];
