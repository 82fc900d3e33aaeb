/**
 * Replays a run: a rollout's requests are answered from the tape, in the order of its sequence. A request that is not
 * on the tape ends the rollout with a cause that names it, or (`on_miss: live`) is sent to the real server or endpoint.
 * A server is started only then, and the calls answered from the tape are first repeated on it. In place of the
 * recorded folder's path, rollouts see a path of the same length that is the same in every replay.
 * @module
 */
import { type Diagnostic, HoneError, tape as messages } from "../diagnostics/mod.ts";
import type { Catalog, Json, Outcome } from "../events.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import { joinCatalogs } from "../mcp/catalog/catalog.ts";
import { describeDrift } from "../mcp/catalog/drift.ts";
import type { Environments, Lease } from "../mcp/pool/pool.ts";
import type { Environment, LlmReply, Log, Policy } from "../plugin.ts";
import { LlmAnswers } from "./llm_answers.ts";
import { lastWords, retryable, scenarioDigest, tapeName } from "./lines.ts";
import type { Mask } from "./mask.ts";
import { sameReply, type TapeContent } from "./reader.ts";
import { type Answer, asked, type Clerk, ReplyDesk } from "./replies.ts";
import { ReplayedLease } from "./replayed_lease.ts";
import type { LeaseArgs, LlmQuestion, Tape } from "./tape.ts";

/** What a replay is made with. */
export interface PlayerOptions {
  /** Of these servers: see `checkTape`. */
  content: TapeContent;
  servers: PipelineConfig["servers"];
  mask: Mask;
  on_miss: "fail" | "live";
  /** Where the model's replies come from, if they are replayed too. */
  desk: ReplyDesk | undefined;
  /** Whether those of a policy that hone itself serves are too. */
  own_replies: boolean;
  /** The real ones, for `on_miss: live`. */
  live: Environments;
  log: Log;
}

/** Replays. */
export class Player implements Tape {
  readonly environments: Environments;
  readonly replays = true;
  readonly #answers: LlmAnswers;
  /** What rollouts so far see in place of their folders. */
  readonly #workdirs = new Set<string>();
  #started: Promise<Catalog> | undefined;

  constructor(readonly options: PlayerOptions) {
    this.#answers = new LlmAnswers(options.content.llm);
    this.environments = {
      discover: (server) => Promise.resolve(options.content.catalogs.get(server)!),
      lease: (args) => this.#lease(args),
    };
  }

  policy(lease: Lease, policy: Policy): Policy {
    const { desk, own_replies } = this.options;
    if (!desk || !(lease instanceof ReplayedLease) || policy.tokens === "exact" && !own_replies) return policy;
    const { policy: reached, close } = desk.serve(policy, this.#clerk(lease));
    lease.reached = { address: reached.base_url, real: policy.base_url, close };
    const { context_tokens } = lease.taped.replies.find((reply) => reply.context_tokens) ?? policy;
    return context_tokens ? { ...reached, context_tokens } : reached;
  }

  async beforehand(lease: Lease, look: (environment: Environment) => Promise<void>): Promise<void> {
    await (lease instanceof ReplayedLease ? lease.whenLive(look) : look(lease));
  }

  async observed(lease: Lease, judge: string, observe: () => Promise<Json>): Promise<Json> {
    if (!(lease instanceof ReplayedLease) || lease.is_live) return await observe();
    const taped = lease.taped.observations.get(judge);
    if (taped?.failed !== undefined) throw new Error(taped.failed);
    if (taped) return lease.show(taped.observation ?? null);
    await lease.missed(messages.observation_missed(tapeName(lease.id), judge, [...lease.taped.observations.keys()]));
    return await observe();
  }

  async answered({ stage, request }: LlmQuestion, ask: () => Promise<LlmReply>): Promise<LlmReply> {
    const { mask, on_miss } = this.options;
    const asked = mask.hide(request, this.#workdirs);
    const taped = this.#answers.take(asked);
    if (taped?.reply) return taped.reply as LlmReply;
    if (taped) throw new HoneError({ code: taped.outcome, message: taped.outcome, ...taped.failed });
    if (on_miss === "live") return await ask();
    const near = this.#answers.near(stage, asked);
    throw new HoneError(messages.llm_missed(stage, String(asked.model), lastWords(asked.messages), near));
  }

  settled(lease: Lease, outcome: Outcome): Outcome {
    const { miss, reached } = lease as ReplayedLease;
    if (miss) return { end: "tape_miss", answer: null, cause: miss.message };
    if (!reached || outcome.cause === undefined) return outcome;
    return { ...outcome, cause: outcome.cause.replaceAll(reached.address, reached.real) };
  }

  /** A real environment for this rollout. Its servers are discovered before the first one. */
  async lease(args: LeaseArgs): Promise<Lease> {
    const catalog = await (this.#started ??= this.#start());
    return await this.options.live.lease({ ...args, catalog });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.options.desk?.[Symbol.asyncDispose]();
  }

  async #start(): Promise<Catalog> {
    const { live, servers, content, log } = this.options;
    const found = await Promise.all(
      Object.keys(servers).map(async (server) => {
        const catalog = await live.discover(server);
        const changes = describeDrift(joinCatalogs([content.catalogs.get(server)!]), joinCatalogs([catalog]));
        if (changes.length > 0) log.warn(messages.stale(content.path, server, changes).message);
        return catalog;
      }),
    );
    return joinCatalogs(found);
  }

  async #lease(args: LeaseArgs): Promise<Lease> {
    args.signal.throwIfAborted();
    const rollout = tapeName(args.rollout_id);
    const taped = this.options.content.rollouts.get(rollout);
    const problem: Diagnostic | undefined = !taped
      ? messages.no_rollout(rollout)
      : taped.scenario !== scenarioDigest(args.scenario)
      ? messages.other_scenario(rollout, args.scenario.id)
      : undefined;
    const lease = new ReplayedLease(args, problem ? undefined : taped, this);
    if (problem) await lease.missed(problem);
    if (lease.shown_workdir !== null) this.#workdirs.add(lease.shown_workdir);
    return lease;
  }

  #clerk(lease: ReplayedLease): Clerk {
    return async ({ path, body, forward }): Promise<Answer> => {
      if (!path.endsWith("/completions")) return { status: 200, body: {} };
      const question = asked(path, this.options.mask.hide(body, lease.shown_workdir));
      const found = lease.replies.take((reply) => sameReply(reply, question), ({ status }) => retryable(status));
      if (found) return { status: found.status, body: lease.show(found.body) };
      if (this.options.on_miss === "live") return await forward();
      const { next } = lease.replies;
      const differs = next?.last === question.last ? differences(next, question) : null;
      const diagnostic = messages.reply_missed(tapeName(lease.id), question.last, differs, next?.last);
      lease.miss ??= diagnostic;
      return { status: 404, body: { error: { code: "tape_miss", message: diagnostic.message } } };
    };
  }
}

function differences(a: { asked: Asked }, b: { asked: Asked }): string[] {
  const names: Record<keyof Asked, string> = {
    messages: "earlier messages",
    tools: "the tools",
    settings: "the model or its sampling",
  };
  return (Object.keys(names) as (keyof Asked)[]).filter((key) => a.asked[key] !== b.asked[key]).map((key) =>
    names[key]
  );
}

type Asked = { messages: string; tools: string; settings: string };
