/**
 * The environment of one rollout: resolves names, checks arguments, enforces the safety rule for shared servers,
 * retries safe calls, turns every failure into a `CallResult`, and redacts hone's secrets in results before the model
 * or a record sees them. Releasing returns the slot to the pool.
 * @module
 */
import type { CallOutcome, CallSpec, JsonObject, ToolSpec } from "../../events.ts";
import type { CallResult, Environment } from "../../plugin.ts";
import { valueWithoutHanded, withoutHanded } from "../../common/redact.ts";
import { argumentProblem } from "./arguments.ts";
import { expandAll } from "../session/server_endpoint.ts";
import type { KnownServer, ServerTable } from "./server_table.ts";
import type { Session } from "../session/session.ts";
import { jitter, type Slot } from "./slot.ts";
import { messageOf } from "../../diagnostics/mod.ts";

/** What a lease counted. */
export interface LeaseStats {
  calls: number;
  outcomes: Partial<Record<CallOutcome, number>>;
  /** Seconds spent in calls. */
  seconds: number;
}

/** An environment that must be released. */
export interface Lease extends Environment {
  /** Returns the slot; calls in progress are aborted. Safe to call twice. */
  release(): Promise<void>;
  stats: LeaseStats;
}

/** What a lease gets from the pool. */
export interface LeaseParts {
  id: string;
  slot: Slot | null;
  workdir: string | null;
  tools: ToolSpec[];
  servers: ServerTable;
  signal: AbortSignal;
  /** The one session of a server that all rollouts share. */
  shared(server: string): Promise<Session>;
  /** A tool that may change things was called on a server, and did not fail. */
  wrote(server: string): void;
  released(slot: Slot | null): Promise<void>;
}

const RETRIES = 2;
const CANCELLED = "The call was cancelled.";

/** The pool's implementation of `Lease`. */
export class PoolLease implements Lease {
  readonly id: string;
  readonly workdir: string | null;
  readonly tools: ToolSpec[];
  readonly stats: LeaseStats = { calls: 0, outcomes: {}, seconds: 0 };
  #by_name: Map<string, ToolSpec>;
  #under_way = new Map<string, number>();
  #released: Promise<void> | undefined;

  constructor(private readonly parts: LeaseParts) {
    this.id = parts.id;
    this.workdir = parts.workdir;
    this.tools = parts.tools;
    this.#by_name = new Map(parts.tools.map((tool) => [tool.model_name, tool]));
  }

  async call(model_name: string, args: JsonObject, options: { signal?: AbortSignal } = {}): Promise<CallResult> {
    const tool = this.#by_name.get(model_name);
    if (!tool) {
      const names = [...this.#by_name.keys()].join(", ");
      return this.#count(refused("unknown_tool", `There is no tool "${model_name}". The tools are: ${names}.`));
    }
    return this.#count(await this.#guarded(tool, args, options.signal ?? this.parts.signal));
  }

  async observe(
    { server, tool, arguments: given }: CallSpec,
    { read_only = false }: { read_only?: boolean } = {},
  ): Promise<CallResult> {
    const found = this.parts.servers.find(tool, server);
    if (typeof found === "string") return this.#count(refused("unknown_tool", found));
    if (read_only && !this.parts.servers.get(found.server)?.isReadOnly(found)) {
      return this.#count(refused("denied", `Neither the server nor read_only_tools says that "${tool}" is read-only.`));
    }
    return this.#count(await this.#guarded(found, expandAll(given, this.workdir), this.parts.signal));
  }

  release(): Promise<void> {
    return this.#released ??= (() => {
      for (const server of this.#under_way.keys()) this.parts.slot?.unsettled.add(server);
      return this.parts.released(this.parts.slot);
    })();
  }

  async #guarded(tool: ToolSpec, args: JsonObject, signal: AbortSignal): Promise<CallResult> {
    if (this.#released) return refused("cancelled", "The environment has been released.");
    const server = this.parts.servers.get(tool.server);
    if (!server) return refused("unknown_tool", `There is no server "${tool.server}".`);
    const problem = argumentProblem(tool.input_schema, args);
    if (problem) return refused("invalid_arguments", `Invalid arguments for ${tool.model_name}: ${problem}.`);
    const denied = await server.denialNow(tool, async () => await this.#session(server), signal);
    if (denied) return refused("denied", denied);
    if (signal.aborted) return refused("cancelled", CANCELLED);
    for (let retry = 0;; retry++) {
      const result = withoutSecrets(await this.#once(server, tool, args, signal));
      if (result.outcome !== "server_died" || retry === RETRIES) return result;
      const busy = askedToWait(result);
      if (busy === null ? !server.mayRetry(tool) : busy > server.callTimeout) return result;
      try {
        await jitter(retry, signal, busy ?? 0);
      } catch {
        return refused("cancelled", CANCELLED);
      }
    }
  }

  async #once(server: KnownServer, tool: ToolSpec, args: JsonObject, signal: AbortSignal): Promise<CallResult> {
    const started = performance.now();
    this.#under_way.set(server.name, (this.#under_way.get(server.name) ?? 0) + 1);
    try {
      const session = await this.#session(server);
      const result = await server.run(session, tool, args, signal);
      if (result.outcome === "ok" && !server.isReadOnly(tool)) this.parts.wrote(server.name);
      if (result.outcome === "timeout" || result.outcome === "cancelled") this.parts.slot?.unsettled.add(server.name);
      return result;
    } catch (error) {
      const seconds = (performance.now() - started) / 1000;
      return { ...refused("server_died", messageOf(error)), seconds };
    } finally {
      const left = this.#under_way.get(server.name)! - 1;
      if (left) this.#under_way.set(server.name, left);
      else this.#under_way.delete(server.name);
    }
  }

  /**
   * A process that died in this rollout is not restarted: its state is lost. A connection to a running server is
   * reopened.
   */
  #session(server: KnownServer): Promise<Session> | Session {
    const { slot } = this.parts;
    if (server.is_shared_process || !slot) return this.parts.shared(server.name);
    const open = slot.sessions.get(server.name);
    return open && (!open.broken || server.is_process) ? open : slot.session(server.name);
  }

  #count(result: CallResult): CallResult {
    this.stats.calls++;
    this.stats.outcomes[result.outcome] = (this.stats.outcomes[result.outcome] ?? 0) + 1;
    this.stats.seconds += result.seconds;
    return result;
  }
}

/** Seconds that a busy server asked to wait before retrying the call; null in other cases. */
function askedToWait({ result }: CallResult): number | null {
  const { error } = result as { error?: { code?: unknown; retry_after_secs?: number } };
  return error?.code === 429 ? error.retry_after_secs ?? 0 : null;
}

function withoutSecrets(answer: CallResult): CallResult {
  return { ...answer, text: withoutHanded(answer.text), result: valueWithoutHanded(answer.result) };
}

function refused(outcome: CallOutcome, text: string): CallResult {
  return { outcome, text, result: { error: { code: outcome, message: text } }, seconds: 0 };
}
