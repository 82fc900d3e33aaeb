/**
 * The pool that leases environments to rollouts. Each lease has a slot of its own (processes, sessions, folders) under
 * `<run_dir>/env/`; released slots are made as good as new in the background and leased again, first come, first served.
 * One slot's failure never touches another. Disposing the pool ends every process and removes every folder.
 * @module
 */
import { availableParallelism } from "node:os";
import { offeredTools } from "../../chat/conversation.ts";
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import { HoneError, mcp, messageOf } from "../../diagnostics/mod.ts";
import type { CallSpec, Catalog, Scenario } from "../../events.ts";
import type { Log } from "../../plugin.ts";
import { Semaphore } from "../../common/semaphore.ts";
import { removeFolders, writeSetup } from "./folders.ts";
import { LeakWatch, type Use } from "../state_leaks/leak_watch.ts";
import { type Lease, PoolLease } from "./lease.ts";
import { type KnownServer, ServerTable, type ToolsChange } from "./server_table.ts";
import type { Session } from "../session/session.ts";
import { Slot, type SlotContext } from "./slot.ts";

export type { Lease, LeaseStats } from "./lease.ts";

/** What a run asks of its pool, and what a tape puts in its place. */
export type Environments = Pick<EnvironmentPool, "discover" | "lease">;

/** What a pool is made from. */
export interface PoolOptions {
  servers: Record<string, ServerConfig>;
  /** Absolute folder of the run; the pool owns its `env/`. */
  run_dir: string;
  /** Absolute folder of the pipeline file. */
  base_dir: string;
  /** The pipeline's own `allow_writes`. */
  allow_writes: boolean;
  log: Log;
  /** Ends starting and leasing. */
  signal: AbortSignal;
  /** Largest message of a server, in bytes; 64 MiB when left out. */
  max_result_bytes?: number;
  /** Told once of each way in which a server's tools change after discovery; rollouts are offered what it found. */
  on_tools_changed?: (server: string, change: ToolsChange) => void;
  /** Calls that judges will make when they observe what a scenario left behind; none when left out. */
  observed_calls?: (scenario: Scenario) => CallSpec[];
  /** Limit of calls to servers without their own `call_timeout_secs`; 30 when left out. */
  call_timeout_secs?: number;
}

/** Connections that open at once: they wait for the network, and a server that refuses many is asked again later. */
const CONNECTS = 32;

/** Leases environments. */
export class EnvironmentPool implements AsyncDisposable {
  readonly #options: PoolOptions;
  readonly #servers: ServerTable;
  readonly #ctx: SlotContext;
  readonly #own: string[];
  readonly #idle: Promise<Slot>[] = [];
  readonly #late = new Set<Promise<void>>();
  readonly #all = new Set<Slot>();
  readonly #stop = new AbortController();
  readonly #leaks: LeakWatch;
  readonly #said = new Set<string>();
  #shared: Promise<Slot> | undefined;
  #made = 0;

  constructor(options: PoolOptions) {
    this.#options = options;
    const { allow_writes, call_timeout_secs = 30, max_result_bytes = 64 * 1024 * 1024 } = options;
    this.#servers = new ServerTable(options.servers, { allow_writes, call_timeout_secs });
    this.#own = this.#servers.names("own");
    this.#leaks = new LeakWatch(this.#servers, options.run_dir, options.log);
    this.#ctx = {
      servers: options.servers,
      base_dir: options.base_dir,
      max_result_bytes,
      signal: AbortSignal.any([options.signal, this.#stop.signal]),
      starts: new Semaphore(Math.max(4, 2 * availableParallelism())),
      connects: new Semaphore(CONNECTS),
      tools_changed: (server, session) => void this.#toolsChanged(server, session),
      asked: (server, method, answer) => this.#asked(server, method, answer),
      known: new Map(),
    };
  }

  /** Connects to one server and reads what it offers. Throws a HoneError where it cannot be used. */
  async discover(server: string): Promise<Catalog> {
    const known = this.#servers.get(server);
    if (!known) throw new Error(`no server "${server}" in this pipeline`);
    if (known.is_shared_process) return this.#told(known, await this.#sharedSession(server));
    const slot = await this.#idleSlot() ?? await this.#create();
    try {
      return await this.#told(known, await slot.session(server));
    } finally {
      this.#keep(Promise.resolve(slot));
    }
  }

  /** What the server offers; warns of tools that every rollout would be refused. */
  async #told(server: KnownServer, session: Session): Promise<Catalog> {
    const catalog = await server.discover(session, this.#ctx.signal);
    const refused = catalog.tools.filter((tool) => server.denial(tool) !== null).map(({ name }) => name);
    if (refused.length > 0) {
      const { message, hint } = mcp.tools_refused(server.name, refused, catalog.tools.length);
      this.#options.log.warn(`${message}; ${hint}`);
    }
    return catalog;
  }

  /**
   * Leases a fresh environment, with the scenario's setup done. Throws where a server cannot be started or the setup
   * fails; the rollout then ends with that cause.
   */
  async lease(
    args: { rollout_id: string; scenario: Scenario; catalog: Catalog; signal: AbortSignal },
  ): Promise<Lease> {
    const { rollout_id, scenario, catalog, signal } = args;
    signal.throwIfAborted();
    const slot = this.#own.length > 0 ? await this.#until(signal, this.#take()) : null;
    const use: Use = { since: Date.now(), wrote: new Set() };
    const lease = new PoolLease({
      id: rollout_id,
      slot,
      workdir: slot?.has_folders ? slot.folders.work : null,
      tools: offeredTools(scenario, catalog.tools),
      servers: this.#servers,
      signal,
      shared: (name) => this.#sharedSession(name),
      wrote: (server) => this.#leaks.wrote(use, server),
      released: (used) => this.#recycle(used, use),
    });
    try {
      signal.throwIfAborted();
      await setUp(lease, scenario);
      if (slot) await this.#leaks.fresh(lease, slot, scenario, this.#options.observed_calls?.(scenario) ?? []);
      return lease;
    } catch (error) {
      await lease.release();
      throw error;
    }
  }

  /** Starts slots until there are `count`; resolves when they are ready. Failures surface at the lease. */
  async warm(count: number): Promise<void> {
    if (this.#own.length === 0) return;
    for (let missing = count - this.#made; missing > 0; missing--) {
      this.#keep(this.#create().then((slot) => this.#opened(slot)));
    }
    await Promise.allSettled(this.#idle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error("the pool is closed"));
    await Promise.allSettled([...this.#all].map((slot) => slot.close()));
    await Promise.allSettled([...this.#idle, ...this.#late, this.#shared]);
    await Promise.allSettled([...this.#all].map((slot) => slot.close()));
    await removeFolders(`${this.#options.run_dir}/env`);
  }

  async #toolsChanged(server: string, session: Session): Promise<void> {
    const change = await this.#servers.get(server)!.changed(session, this.#ctx.signal).catch(() => null);
    if (change && !this.#ctx.signal.aborted) this.#options.on_tools_changed?.(server, change);
  }

  /** Said once: a server may ask in every call. */
  #asked(server: string, method: string, answer: string): void {
    const what = `server "${server}" asks its client (${method}); the answer is always: ${answer}`;
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#options.log.info(what);
  }

  /** A slot with every server open. */
  async #take(): Promise<Slot> {
    const slot = await this.#idleSlot() ?? await this.#create();
    return await this.#opened(slot);
  }

  /** The slot, unless the signal comes first; the slot is then for the next one. */
  async #until(signal: AbortSignal, slot: Promise<Slot>): Promise<Slot> {
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await Promise.race([slot, promise]);
    } catch (error) {
      if (signal.aborted) this.#keepLate(slot);
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  async #idleSlot(): Promise<Slot | null> {
    for (let waiting = this.#idle.shift(); waiting; waiting = this.#idle.shift()) {
      const slot = await waiting.catch(() => null);
      if (slot) return slot;
    }
    return null;
  }

  async #opened(slot: Slot): Promise<Slot> {
    try {
      await slot.ready();
      return slot;
    } catch (error) {
      this.#options.log.warn(messageOf(error));
      await this.#discard(slot);
      throw error;
    }
  }

  async #create(): Promise<Slot> {
    this.#ctx.signal.throwIfAborted();
    const root = `${this.#options.run_dir}/env/${String(this.#made++).padStart(4, "0")}`;
    const slot = await Slot.create(this.#ctx, this.#own, root);
    this.#all.add(slot);
    return slot;
  }

  async #discard(slot: Slot): Promise<void> {
    this.#all.delete(slot);
    await slot.close();
  }

  #keep(slot: Promise<Slot>) {
    slot.catch(() => {});
    this.#idle.push(slot);
  }

  /** Idle only once it is there: whoever takes it until then waits for others that are idle, never for itself. */
  #keepLate(slot: Promise<Slot>) {
    const late = slot.then((one) => this.#keep(Promise.resolve(one)), () => {}).finally(() => this.#late.delete(late));
    this.#late.add(late);
  }

  /** Returns at once: the slot is made ready while others work. */
  async #recycle(slot: Slot | null, use: Use): Promise<void> {
    if (!slot || this.#ctx.signal.aborted) return;
    this.#keep(
      this.#leaks.used(slot, use).then(() => slot.reset()).then(() => slot, async (error) => {
        await this.#discard(slot);
        throw error;
      }),
    );
    await Promise.resolve();
  }

  async #sharedSession(name: string): Promise<Session> {
    const names = this.#servers.names("shared");
    this.#shared ??= Slot.create(this.#ctx, names, `${this.#options.run_dir}/env/shared`).then((slot) => {
      this.#all.add(slot);
      return slot;
    });
    try {
      return await (await this.#shared).session(name);
    } catch (error) {
      if (await this.#shared.then(() => false, () => true)) this.#shared = undefined;
      throw error;
    }
  }
}

async function setUp(lease: Lease, { setup }: Scenario): Promise<void> {
  if (!setup) return;
  if (lease.workdir) await writeSetup(lease.workdir, setup);
  for (const call of setup.calls ?? []) {
    const { outcome, text } = await lease.observe(call);
    if (outcome !== "ok") throw new HoneError(mcp.setup_failed(call.tool, outcome, text.slice(0, 500)));
  }
}
