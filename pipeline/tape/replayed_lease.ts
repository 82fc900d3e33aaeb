/**
 * The environment of one replayed rollout. It has no server and no folder until a call is missed with `on_miss: live`;
 * from then on it is a real one, in the state after the recorded calls so far.
 * @module
 */
import { offeredTools } from "../chat/conversation.ts";
import { type Diagnostic, HoneError, messageOf, tape as messages } from "../diagnostics/mod.ts";
import type { CallSpec, Json, JsonObject, ToolSpec } from "../events.ts";
import type { Lease, LeaseStats } from "../mcp/pool/pool.ts";
import type { CallResult, Environment, Log } from "../plugin.ts";
import { type AskedCall, type TapedCall, type TapedReply, tapeName } from "./lines.ts";
import { type Mask, replaced } from "./mask.ts";
import { calledTool, observedTool } from "./recorder.ts";
import { sameCall, Sequence, type TapedRollout } from "./reader.ts";
import type { LeaseArgs } from "./tape.ts";

/** Calls that never reached a server. */
const REFUSED: ReadonlySet<string> = new Set(["unknown_tool", "invalid_arguments", "denied"]);
const WORKDIR = "${workdir}";
const NOTHING: TapedRollout = {
  scenario: "",
  workdir_chars: null,
  calls: [],
  replies: [],
  observations: new Map(),
};

/** The replay that a lease is part of. */
export interface Replay {
  readonly options: { mask: Mask; on_miss: "fail" | "live"; log: Log };
  /** A real environment for this rollout. */
  lease(args: LeaseArgs): Promise<Lease>;
}

/** A lease that a tape answers. */
export class ReplayedLease implements Lease {
  readonly id: string;
  readonly tools: ToolSpec[];
  readonly stats: LeaseStats = { calls: 0, outcomes: {}, seconds: 0 };
  readonly taped: TapedRollout;
  readonly replies: Sequence<TapedReply>;
  /** The path that the rollout sees for `${workdir}`. */
  readonly shown_workdir: string | null;
  /** How this rollout reaches its policy. */
  reached?: { address: string; real: string; close: () => void };
  /** The first that the tape did not have, under `on_miss: fail`. */
  miss?: Diagnostic;
  readonly #calls: Sequence<TapedCall>;
  readonly #answered: TapedCall[] = [];
  #going_live: Promise<Lease> | undefined;
  #live: Lease | undefined;
  readonly #looks: ((live: Environment) => Promise<void>)[] = [];

  constructor(private readonly args: LeaseArgs, taped: TapedRollout | undefined, private readonly replay: Replay) {
    this.id = args.rollout_id;
    this.tools = offeredTools(args.scenario, args.catalog.tools);
    this.taped = taped ?? NOTHING;
    const { workdir_chars } = this.taped;
    this.shown_workdir = workdir_chars === null ? null : "/workdir/".padEnd(workdir_chars, "w");
    this.#calls = new Sequence(this.taped.calls);
    this.replies = new Sequence(this.taped.replies);
  }

  get is_live(): boolean {
    return this.#live !== undefined;
  }

  get workdir(): string | null {
    return this.#live?.workdir ?? null;
  }

  async call(model_name: string, given: JsonObject, options?: { signal?: AbortSignal }): Promise<CallResult> {
    const asked = calledTool(this.tools, model_name, given);
    return this.#count(
      await this.#answer(asked, (live) => live.call(model_name, this.#real(given, live), options)),
    );
  }

  async observe(spec: CallSpec, options?: { read_only?: boolean }): Promise<CallResult> {
    const asked = observedTool(this.args.catalog.tools, spec);
    return this.#count(await this.#answer(asked, (live) => live.observe(spec, options)));
  }

  /** Looks at the real environment once there is one, before the recorded calls are repeated there. */
  async whenLive(look: (live: Environment) => Promise<void>): Promise<void> {
    if (this.#live) await look(this.#live);
    else this.#looks.push(look);
  }

  /** What the tape has, as the rollout sees it. */
  show<T extends Json>(taped: T): T {
    return this.shown_workdir ? replaced(taped, WORKDIR, this.shown_workdir) : taped;
  }

  /** What the rollout says, as a real environment takes it. */
  #real(given: JsonObject, { workdir }: Lease): JsonObject {
    return this.shown_workdir && workdir ? replaced(given, this.shown_workdir, workdir) : given;
  }

  async release(): Promise<void> {
    this.reached?.close();
    await (await this.#going_live?.catch(() => undefined))?.release();
  }

  /** Goes live, or records the miss. Throws if there is no live server to continue with. */
  async missed(diagnostic: Diagnostic): Promise<Lease> {
    if (this.replay.options.on_miss === "fail") {
      this.miss ??= diagnostic;
      throw new HoneError(diagnostic);
    }
    return await (this.#going_live ??= this.#goLive());
  }

  async #answer(asked: AskedCall, run: (live: Lease) => Promise<CallResult>): Promise<CallResult> {
    const { mask } = this.replay.options;
    const call = { ...asked, arguments: mask.hide(asked.arguments, this.shown_workdir) };
    const taped = this.#going_live ? undefined : this.#calls.take((entry) => sameCall(entry, call));
    if (taped) {
      this.#answered.push(taped);
      const { outcome, text, result, seconds } = taped;
      return { outcome, text: this.show(text), result: this.show(result), seconds };
    }
    try {
      const live = await this.missed(messages.call_missed(tapeName(this.id), call, this.#calls.next));
      const { text, result, ...rest } = await run(live);
      const shown = <T extends Json>(said: T) => this.show(mask.hide(said, live.workdir));
      return { ...rest, text: shown(text), result: shown(result) };
    } catch (error) {
      const text = messageOf(error);
      const code = this.miss ? "tape_miss" : "server_died";
      return { outcome: "server_died", text, result: { error: { code, message: text } }, seconds: 0 };
    }
  }

  /** A real environment that has done what the tape has answered. */
  async #goLive(): Promise<Lease> {
    const live = await this.replay.lease(this.args);
    for (const look of this.#looks) await look(live);
    for (const call of this.#answered.filter(({ outcome }) => !REFUSED.has(outcome))) {
      const { server, tool } = call;
      const now = await live.observe({ ...(server && { server }), tool, arguments: call.arguments });
      if (now.outcome === call.outcome) continue;
      this.replay.options.log.warn(messages.not_repeated(tapeName(this.id), call, now.outcome).message);
    }
    return this.#live = live;
  }

  #count(result: CallResult): CallResult {
    this.stats.calls++;
    this.stats.outcomes[result.outcome] = (this.stats.outcomes[result.outcome] ?? 0) + 1;
    this.stats.seconds += result.seconds;
    return result;
  }
}
