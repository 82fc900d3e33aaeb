/**
 * A slot: the server processes, sessions and folders of one rollout. Slots are reused one rollout after another;
 * `reset` ensures that no state of the previous one remains. A session that may still be working on an unanswered call
 * is never reused.
 * @module
 */
import type { PriorDiscovery } from "@modelcontextprotocol/client";
import { resolve } from "node:path";
import { pause } from "../../common/deadline.ts";
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import { config as say, HoneError } from "../../diagnostics/mod.ts";
import { findCause } from "../../common/causes.ts";
import type { Semaphore } from "../../common/semaphore.ts";
import { findEngine } from "../session/container.ts";
import { endpointOf, rootOf, startLimit } from "../session/server_endpoint.ts";
import { TooManyRequests } from "../session/fetch.ts";
import type { Scenario } from "../../events.ts";
import { removeFolder } from "../../common/open_folder.ts";
import { copyFixture, copyFixtureBelow, SlotFolders, writeSetup } from "./folders.ts";
import { Session } from "../session/session.ts";

/** Shared by all slots of a pool. */
export interface SlotContext {
  servers: Record<string, ServerConfig>;
  base_dir: string;
  max_result_bytes: number;
  signal: AbortSignal;
  /** Limits how many processes are started, and how many connections to running servers are opened, concurrently. */
  starts: Semaphore;
  connects: Semaphore;
  /** Called when a server of a slot reports that its tools have changed. */
  tools_changed(server: string, session: Session): void;
  /** Called when a server of a slot sends a request to its client, which was answered automatically. */
  asked(server: string, method: string, answer: string): void;
  /** What earlier sessions learned, by server. */
  known: Map<string, { prior: PriorDiscovery; transport: "http" | "sse" | "stdio" }>;
}

const CONNECT_TRIES = 3;
const TRANSIENT: ReadonlySet<number> = new Set([429, 500, 502, 503, 504]);

/** Server processes, sessions and folders for one rollout at a time. */
export class Slot {
  /** Servers whose last call has no answer: they may still be working on it. */
  readonly unsettled = new Set<string>();
  readonly sessions = new Map<string, Session>();
  /** Only processes use folders: a slot of mere connections has none on disk. */
  readonly has_folders: boolean;
  #opening = new Map<string, Promise<Session>>();
  #closed = false;

  private constructor(
    private readonly ctx: SlotContext,
    /** Servers that this slot holds for itself. */
    private readonly names: string[],
    readonly folders: SlotFolders,
  ) {
    this.has_folders = names.some((name) => this.#isProcess(name));
  }

  /** Makes the folders and fills in the fixtures; servers start when they are asked for. */
  static async create(ctx: SlotContext, names: string[], root: string): Promise<Slot> {
    const slot = new Slot(ctx, names, new SlotFolders(root, names));
    try {
      if (slot.has_folders) {
        await slot.folders.make();
        await slot.#fill();
      }
      return slot;
    } catch (error) {
      await slot.close();
      throw error;
    }
  }

  /** Opens what is not open. */
  async ready(): Promise<void> {
    const opened = await Promise.allSettled(this.names.map((name) => this.session(name)));
    const failed = opened.find((one) => one.status === "rejected");
    if (failed) throw failed.reason;
  }

  /** The open session of a server; opened (again) where it is not. */
  session(name: string): Promise<Session> {
    const open = this.sessions.get(name);
    if (open && !open.broken) return Promise.resolve(open);
    const opening = this.#opening.get(name) ?? this.#replace(name).finally(() => this.#opening.delete(name));
    this.#opening.set(name, opening);
    return opening;
  }

  async #replace(name: string): Promise<Session> {
    await this.drop(name);
    const { starts, connects } = this.ctx;
    const session = await (this.#isProcess(name) ? starts : connects).use(() => this.#open(name));
    if (this.#closed) {
      await session.close();
      throw new Error(`the slot of server "${name}" is closed`);
    }
    this.sessions.set(name, session);
    return session;
  }

  /**
   * Resets the slot: ends processes that restart and what those that stay have left behind, empties the folders, and
   * reopens sessions. With `start: false`, servers that restart are left to `ready`.
   */
  async reset({ start = true } = {}): Promise<void> {
    const stale = this.names.filter((name) => this.#mustRestart(name));
    await Promise.all(stale.map((name) => this.drop(name)));
    this.unsettled.clear();
    await Promise.all([...this.sessions.values()].map((session) => session.endLeftBehind()));
    if (this.has_folders) {
      await this.folders.empty();
      await this.#fill();
    }
    if (start) await this.ready();
  }

  /** Writes a scenario's files. Servers that restart for each rollout are started after that, to find them there. */
  async setUp(setup: NonNullable<Scenario["setup"]>): Promise<void> {
    if (!this.has_folders || !writesFiles(setup)) return;
    const early = this.names.filter((name) => this.#isProcess(name) && this.ctx.servers[name]!.reset === "restart");
    await Promise.all(early.map((name) => this.drop(name)));
    if (setup.fixture !== undefined) await copyFixtureBelow(this.ctx.base_dir, setup.fixture, this.folders.work);
    await writeSetup(this.folders.work, setup);
  }

  /** Closes the session with one server and ends its process. */
  async drop(name: string): Promise<void> {
    await this.sessions.get(name)?.close();
    this.sessions.delete(name);
  }

  /** Ends every process and removes the folders. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.names.map((name) => this.drop(name)));
    if (this.has_folders) await removeFolder(this.folders.root);
  }

  #isProcess(name: string): boolean {
    return "command" in this.ctx.servers[name]!;
  }

  /** What a server keeps between rollouts it keeps in its process or in a session; where it has neither, nothing. */
  #mustRestart(name: string): boolean {
    const session = this.sessions.get(name);
    if (!session || session.broken || this.unsettled.has(name)) return true;
    return this.ctx.servers[name]!.reset === "restart" && session.has_state;
  }

  async #fill(): Promise<void> {
    for (const name of this.names) {
      const { fixture } = this.ctx.servers[name]!;
      if (fixture) await copyFixture(resolve(this.ctx.base_dir, fixture), this.folders.work);
    }
  }

  async #open(name: string): Promise<Session> {
    const { ctx } = this;
    const config = ctx.servers[name]!;
    const known = ctx.known.get(name);
    const contained = config.isolation === "container";
    if (contained && !config.container) throw new HoneError(say.container_missing(name));
    const engine = contained ? await findEngine(name, config.container?.engine) : undefined;
    const endpoint = endpointOf(config, { ...ctx, folders: this.folders.of(name) }, engine);
    if (endpoint.kind === "url" && known && known.transport !== "stdio") endpoint.transport = known.transport;
    const options = {
      start_timeout_secs: startLimit(config),
      elicitation: config.elicitation,
      sampling: config.sampling,
      on_asked: (method: string, answer: string) => ctx.asked(name, method, answer),
      root: rootOf(config, this.folders.work),
      on_tools_changed: (session: Session) => ctx.tools_changed(name, session),
      signal: ctx.signal,
      prior: known?.prior,
    };
    for (let attempt = 1;; attempt++) {
      ctx.signal.throwIfAborted();
      try {
        const session = await Session.open(name, endpoint, options);
        ctx.known.set(name, { prior: session.prior, transport: session.kind });
        return session;
      } catch (error) {
        if (endpoint.kind !== "url" || attempt === CONNECT_TRIES || !transient(error)) throw error;
        const asked = findCause(error, TooManyRequests)?.retry_after_secs ?? 0;
        if (asked > startLimit(config)) throw error;
        await jitter(attempt, ctx.signal, asked);
      }
    }
  }
}

/** Whether a setup puts anything into the rollout's folder. */
export function writesFiles({ fixture, files, directories }: NonNullable<Scenario["setup"]>): boolean {
  return fixture !== undefined || Object.keys(files ?? {}).length > 0 || (directories ?? []).length > 0;
}

/**
 * A short, random wait that grows with the attempt, after the seconds that a server asked for. Throws the signal's
 * reason where that comes first.
 */
export function jitter(attempt: number, signal: AbortSignal, asked_secs = 0): Promise<void> {
  return pause(asked_secs * 1000 + 100 * 2 ** attempt * (0.5 + Math.random()), signal);
}

function transient(error: unknown): boolean {
  if (!(error instanceof HoneError)) return false;
  const status = Number(/answered HTTP (\d+)/.exec(error.message)?.[1]);
  return error.code === "SERVER_UNREACHABLE" || TRANSIENT.has(status);
}
