/**
 * Records a run: all requests go to the real servers and endpoint, and their responses are on the tape before the
 * rollout gets them. The run fails if the tape cannot be written.
 * @module
 */
import type { CallSpec, Catalog, Json, JsonObject, Outcome, ToolSpec } from "../events.ts";
import { digest } from "../common/digest.ts";
import { canonical } from "../common/json.ts";
import { joinCatalogs } from "../mcp/catalog/catalog.ts";
import type { Environments, Lease, LeaseStats } from "../mcp/pool/pool.ts";
import type { CallResult, Environment, LlmReply, Policy } from "../plugin.ts";
import { type AskedCall, retryable, scenarioDigest, type TapeLine, tapeName } from "./lines.ts";
import type { Mask } from "./mask.ts";
import { asked, type Clerk, ReplyDesk, withoutTokens } from "./replies.ts";
import type { LeaseArgs, LlmQuestion, Tape } from "./tape.ts";
import type { TapeWriter } from "./writer.ts";
import { HoneError, messageOf } from "../diagnostics/mod.ts";

/** What a recording is made with. */
export interface RecorderOptions {
  environments: Environments;
  writer: TapeWriter;
  mask: Mask;
  /** Where the model's replies pass, if they are recorded too. */
  desk: ReplyDesk | undefined;
  /** Whether those of a policy that hone itself serves are too. */
  own_replies: boolean;
  /** Called with the first failure to write. */
  fail: (error: Error) => void;
}

/** Records. */
export class Recorder implements Tape {
  readonly environments: Environments;
  readonly replays = false;
  /** Folders of all rollouts so far: a question to a language model may speak of any of them. */
  readonly #workdirs = new Set<string>();

  constructor(private readonly options: RecorderOptions) {
    this.environments = {
      discover: (server) => this.#discover(server),
      lease: (args) => this.#lease(args),
    };
  }

  policy(lease: Lease, policy: Policy): Policy {
    const { desk, own_replies } = this.options;
    if (!desk || !(lease instanceof RecordedLease) || policy.tokens === "exact" && !own_replies) return policy;
    const { policy: reached, close } = desk.serve(policy, this.#clerk(lease, policy.context_tokens));
    lease.reached = { address: reached.base_url, real: policy.base_url, close };
    return reached;
  }

  beforehand(lease: Lease, look: (environment: Environment) => Promise<void>): Promise<void> {
    return look(lease instanceof RecordedLease ? lease.real : lease);
  }

  async observed(lease: Lease, judge: string, observe: () => Promise<Json>): Promise<Json> {
    const head = { type: "observation" as const, rollout: tapeName(lease.id), judge };
    let observation: Json;
    try {
      observation = await observe();
    } catch (error) {
      const failed = messageOf(error);
      await this.write({ ...head, failed: this.options.mask.hide(failed, lease.workdir) });
      throw error;
    }
    await this.write({ ...head, observation: this.options.mask.hide(observation, lease.workdir) });
    return observation;
  }

  async answered({ stage, request }: LlmQuestion, ask: () => Promise<LlmReply>): Promise<LlmReply> {
    const hide = <T extends Json>(value: T) => this.options.mask.hide(value, this.#workdirs);
    const asked = hide(request);
    const head = { type: "llm" as const, key: digest(asked), stage, request: asked };
    let reply: LlmReply;
    try {
      reply = await ask();
    } catch (error) {
      // What is no HoneError is no answer either: the run was stopped.
      if (!(error instanceof HoneError)) throw error;
      const failed = { message: hide(error.message), ...(error.hint !== undefined && { hint: hide(error.hint) }) };
      await this.write({ ...head, outcome: error.code, failed });
      throw error;
    }
    const seconds = Math.round(reply.seconds * 1e6) / 1e6;
    const hidden = hide({ ...reply, seconds } as unknown as JsonObject) as unknown as LlmReply;
    await this.write({ ...head, outcome: "ok", reply: hidden });
    return reply;
  }

  settled(lease: Lease, outcome: Outcome): Outcome {
    const { reached } = lease as RecordedLease;
    if (!reached || outcome.cause === undefined) return outcome;
    return { ...outcome, cause: outcome.cause.replaceAll(reached.address, reached.real) };
  }

  /** Resolves when the line is on disk, or the run is told that it cannot be. */
  async write(line: TapeLine): Promise<void> {
    await this.options.writer.write(line).catch(this.options.fail);
  }

  /** Writes one call and its answer. */
  async writeCall(lease: Lease, after: number, call: AskedCall, result: CallResult): Promise<void> {
    const { mask } = this.options;
    await this.write({
      type: "call",
      rollout: tapeName(lease.id),
      after,
      server: call.server,
      tool: call.tool,
      arguments: mask.hide(call.arguments, lease.workdir),
      outcome: result.outcome,
      text: mask.hide(result.text, lease.workdir),
      result: mask.hide(result.result, lease.workdir),
      seconds: Math.round(result.seconds * 1e6) / 1e6,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.options.desk?.[Symbol.asyncDispose]();
    await this.options.writer[Symbol.asyncDispose]();
  }

  async #discover(server: string): Promise<Catalog> {
    const catalog = await this.options.environments.discover(server);
    const hidden = this.options.mask.hide(catalog as unknown as JsonObject) as unknown as Catalog;
    await this.write({ type: "catalog", server, catalog: joinCatalogs([hidden]) });
    return catalog;
  }

  async #lease(args: LeaseArgs): Promise<Lease> {
    const lease = await this.options.environments.lease(args);
    if (lease.workdir !== null) this.#workdirs.add(lease.workdir);
    await this.write({
      type: "rollout",
      rollout: tapeName(args.rollout_id),
      scenario: scenarioDigest(args.scenario),
      workdir_chars: lease.workdir?.length ?? null,
    });
    return new RecordedLease(lease, args.catalog.tools, this);
  }

  #clerk(lease: RecordedLease, context_tokens: number): Clerk {
    let answered = 0;
    return async ({ path, body, forward }) => {
      if (!path.endsWith("/completions")) return await forward();
      const after = answered;
      const answer = await forward();
      if (!retryable(answer.status)) answered++;
      const { mask } = this.options;
      const [question, reply] = [mask.hide(body, lease.workdir), mask.hide(answer.body, lease.workdir)];
      const masked = canonical(question) !== canonical(body) || canonical(reply) !== canonical(answer.body);
      await this.write({
        type: "reply",
        rollout: tapeName(lease.id),
        after,
        ...asked(path, question),
        status: answer.status,
        body: masked ? withoutTokens(reply) : reply,
        ...(context_tokens > 0 && { context_tokens }),
      });
      return answer;
    };
  }
}

/** A lease whose calls are recorded. */
class RecordedLease implements Lease {
  /** How this rollout reaches its policy. */
  reached?: { address: string; real: string; close: () => void };
  #answered = 0;

  constructor(
    /** The lease itself, whose calls are not recorded. */
    readonly real: Lease,
    private readonly catalog: readonly ToolSpec[],
    private readonly recorder: Recorder,
  ) {}

  get id(): string {
    return this.real.id;
  }

  get workdir(): string | null {
    return this.real.workdir;
  }

  get tools(): ToolSpec[] {
    return this.real.tools;
  }

  get stats(): LeaseStats {
    return this.real.stats;
  }

  call(model_name: string, args: JsonObject, options?: { signal?: AbortSignal }): Promise<CallResult> {
    return this.#taped(calledTool(this.tools, model_name, args), () => this.real.call(model_name, args, options));
  }

  observe(spec: CallSpec, options?: { read_only?: boolean }): Promise<CallResult> {
    return this.#taped(observedTool(this.catalog, spec), () => this.real.observe(spec, options));
  }

  async release(): Promise<void> {
    this.reached?.close();
    await this.real.release();
  }

  async #taped(call: AskedCall, run: () => Promise<CallResult>): Promise<CallResult> {
    const after = this.#answered;
    const result = await run();
    this.#answered++;
    await this.recorder.writeCall(this, after, call, result);
    return result;
  }
}

/** What an agent's call is on a tape. */
export function calledTool(tools: readonly ToolSpec[], model_name: string, args: JsonObject): AskedCall {
  const tool = tools.find((one) => one.model_name === model_name);
  return { server: tool?.server ?? "", tool: tool?.name ?? model_name, arguments: args };
}

/** What an observing call is on a tape; the server may be left out where the tool's name is unique. */
export function observedTool(tools: readonly ToolSpec[], { server, tool, arguments: given }: CallSpec): AskedCall {
  const named = tools.filter(({ name }) => name === tool);
  return { server: server ?? (named.length === 1 ? named[0]!.server : ""), tool, arguments: given };
}
