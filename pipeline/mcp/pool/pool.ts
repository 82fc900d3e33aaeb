/**
 * The pool that leases environments to rollouts. Each lease has its own slot (processes, sessions, folders) under
 * `<run_dir>/env/`; released slots are reset in the background and leased again, first come, first served. A slot's
 * failure never affects another. Disposing the pool ends every process and deletes every folder.
 * @module
 */
import { availableParallelism } from "node:os";
import { offeredTools } from "../../chat/conversation.ts";
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import { HoneError, mcp, messageOf } from "../../diagnostics/mod.ts";
import type { CallSpec, Catalog, Scenario } from "../../events.ts";
import type { Log } from "../../plugin.ts";
import { Semaphore } from "../../common/semaphore.ts";
import { makeFolder, removeFolder } from "../../common/open_folder.ts";
import { LeakWatch, type Use } from "../state_leaks/leak_watch.ts";
import { type Lease, PoolLease } from "./lease.ts";
import { type KnownServer, ServerTable, type ToolsChange } from "./server_table.ts";
import type { Session } from "../session/session.ts";
import { Slot, type SlotContext, writesFiles } from "./slot.ts";

export type { Lease, LeaseStats } from "./lease.ts";

/** The operations of a pool, which a tape can replace. */
export type Environments = Pick<EnvironmentPool, "discover" | "lease">;

/** Options of a pool. */
export interface PoolOptions {
  servers: Record<string, ServerConfig>;
  /** Absolute folder of the run; the pool owns its `env/`. */
  run_dir: string;
  /** Absolute folder of the pipeline file. */
  base_dir: string;
  /** The pipeline's own `allow_writes`. */
  allow_writes: boolean;
  log: Log;
  /** Aborts starting and leasing. */
  signal: AbortSignal;
  /** Maximum size of a server's message, in bytes. Default: 64 MiB. */
  max_result_bytes?: number;
  /** Called once for each change of a server's tools after discovery; rollouts keep the discovered tools. */
  on_tools_changed?: (server: string, change: ToolsChange) => void;
  /** Calls that judges make to observe a scenario's end state. Default: none. */
  observed_calls?: (scenario: Scenario) => CallSpec[];
  /** Time limit of calls to servers without `call_timeout_secs`. Default: 30. */
  call_timeout_secs?: number;
}

/** Maximum number of connections opened concurrently; if a server rejects some, they are retried later. */
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
  #root: Promise<void> | undefined;
  #made = 0;
  /** Scenarios write files before their servers start: starting these ahead would be in vain. */
  #fills = false;

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

  /** Connects to one server and lists what it offers. Throws a HoneError if it cannot be used. */
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

  /** What the server offers; warns about tools whose calls would always be rejected. */
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
   * Leases a fresh environment, with the scenario's setup done. Throws if a server cannot be started or the setup
   * fails; the rollout then ends with that cause.
   */
  async lease(
    args: { rollout_id: string; scenario: Scenario; catalog: Catalog; signal: AbortSignal },
  ): Promise<Lease> {
    const { rollout_id, scenario, catalog, signal } = args;
    signal.throwIfAborted();
    const use: Use = { since: Date.now(), wrote: new Set() };
    const slot = this.#own.length > 0 ? await this.#until(signal, this.#take(scenario, use), use) : null;
    use.since = Date.now(); // What servers write while they start is not the rollout's doing.
    const lease = new PoolLease({
      id: rollout_id,
      slot,
      workdir: slot?.has_folders ? slot.folders.work : null,
      tools: offeredTools(scenario, catalog.tools),
      servers: this.#servers,
      signal,
      shared: (name) => this.#sharedSession(name),
      wrote: (server) => this.#leaks.wrote(use, server),
      released: (used) => Promise.resolve(this.#recycle(used, use)),
    });
    try {
      signal.throwIfAborted();
      mustHaveFolder(lease, scenario);
      await callSetup(lease, scenario);
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
    await removeFolder(this.#env).catch((error) => this.#options.log.warn(messageOf(error)));
  }

  async #toolsChanged(server: string, session: Session): Promise<void> {
    const change = await this.#servers.get(server)!.changed(session, this.#ctx.signal).catch(() => null);
    if (change && !this.#ctx.signal.aborted) this.#options.on_tools_changed?.(server, change);
  }

  /** Logged once: a server may send requests in every call. */
  #asked(server: string, method: string, answer: string): void {
    const what = `server "${server}" sent a request to its client (${method}); the response is always: ${answer}`;
    if (this.#said.has(what)) return;
    this.#said.add(what);
    this.#options.log.info(what);
  }

  /** A slot with the scenario's files and every server open. */
  async #take({ setup }: Scenario, use: Use): Promise<Slot> {
    this.#fills ||= setup !== undefined && writesFiles(setup);
    const slot = await this.#idleSlot() ?? await this.#create();
    try {
      await slot.setUp(setup ?? {});
    } catch (error) {
      this.#recycle(slot, use);
      throw error;
    }
    return await this.#opened(slot);
  }

  /** The slot, unless the signal is aborted first; the slot then goes to the next waiter. */
  async #until(signal: AbortSignal, slot: Promise<Slot>, use: Use): Promise<Slot> {
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = () => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await Promise.race([slot, promise]);
    } catch (error) {
      if (signal.aborted) this.#keepLate(slot, use);
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
    if (this.#own.some((name) => this.#servers.get(name)!.is_process)) await this.#makeRoot();
    const root = `${this.#env}/${String(this.#made++).padStart(4, "0")}`;
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

  /** A slot counts as idle only once it is created: a waiter must wait for other idle slots, never for its own. */
  #keepLate(slot: Promise<Slot>, use: Use) {
    const late = slot.then((one) => this.#recycle(one, use), () => {}).finally(() => this.#late.delete(late));
    this.#late.add(late);
  }

  /** Returns immediately: the slot is reset in the background. */
  #recycle(slot: Slot | null, use: Use): void {
    if (!slot || this.#ctx.signal.aborted) return;
    this.#keep(
      this.#leaks.used(slot, use).then(() => slot.reset({ start: !this.#fills })).then(() => slot, async (error) => {
        if (!this.#ctx.signal.aborted) this.#options.log.warn(messageOf(error));
        await this.#discard(slot);
        throw error;
      }),
    );
  }

  async #sharedSession(name: string): Promise<Session> {
    this.#shared ??= this.#createShared();
    try {
      return await (await this.#shared).session(name);
    } catch (error) {
      if (await this.#shared.then(() => false, () => true)) this.#shared = undefined;
      throw error;
    }
  }

  async #createShared(): Promise<Slot> {
    await this.#makeRoot();
    const slot = await Slot.create(this.#ctx, this.#servers.names("shared"), `${this.#env}/shared`);
    this.#all.add(slot);
    return slot;
  }

  /** The folder of all slots, made once. */
  #makeRoot(): Promise<void> {
    return this.#root ??= makeFolder(this.#env).catch((error) => {
      this.#root = undefined;
      throw error;
    });
  }

  get #env(): string {
    return `${this.#options.run_dir}/env`;
  }
}

/** Throws for files of a setup that have no folder: a setup that is skipped would make the result meaningless. */
function mustHaveFolder({ workdir }: Lease, { setup }: Scenario): void {
  if (workdir === null && writesFiles(setup ?? {})) throw new HoneError(mcp.setup_without_folder());
}

async function callSetup(lease: Lease, { setup }: Scenario): Promise<void> {
  for (const call of setup?.calls ?? []) {
    const { outcome, text } = await lease.observe(call);
    if (outcome !== "ok") throw new HoneError(mcp.setup_failed(call.tool, outcome, text.slice(0, 500)));
  }
}
