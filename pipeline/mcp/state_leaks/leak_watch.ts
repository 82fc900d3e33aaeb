/**
 * Detects servers with state that outlives a rollout, and warns once per server and kind of evidence: changes outside
 * of the server's folders, and differences between fresh environments. Shared servers are not checked: sharing is
 * declared in their pipeline.
 * @module
 */
import { type Diagnostic, mcp } from "../../diagnostics/mod.ts";
import type { CallSpec, Scenario } from "../../events.ts";
import type { Log } from "../../plugin.ts";
import { FreshProbe } from "./fresh_probe.ts";
import type { Lease } from "../pool/lease.ts";
import type { ServerTable } from "../pool/server_table.ts";
import type { Slot } from "../pool/slot.ts";
import { changedOutside } from "./outside_changes.ts";

/** What one rollout did with its slot. */
export interface Use {
  /** Milliseconds since 1970. */
  since: number;
  /** Servers on which tools were called that may change things. */
  wrote: Set<string>;
}

const MAX_LOOKS = 4;
/** Times of files come from a clock that ticks this slowly. */
const CLOCK_MS = 10;

/** Warns of state that outlives rollouts. */
export class LeakWatch {
  readonly #probe = new FreshProbe();
  readonly #looks = new Map<string, number>();
  readonly #found = new Set<string>();

  constructor(private readonly servers: ServerTable, private readonly inside: string, private readonly log: Log) {}

  /** Notes a call that may change things. */
  wrote(use: Use, server: string): void {
    use.wrote.add(server);
    this.#probe.wrote(server);
  }

  /** Compares a fresh environment with earlier ones, before anyone acts in it. */
  async fresh(lease: Lease, slot: Slot, { setup }: Scenario, calls: CallSpec[]): Promise<void> {
    const own = (call: { tool: string; server?: string }) => {
      const tool = this.servers.find(call.tool, call.server);
      return typeof tool !== "string" && this.#isOwn(tool.server) ? tool.server : undefined;
    };
    const environment = { observe: lease.observe.bind(lease), root: slot.folders.root };
    for (const { server, tool, before, now } of await this.#probe.look(environment, { setup, calls }, own)) {
      this.#warn(mcp.state_differs(server, tool, before, now));
    }
  }

  /** Looks for what a rollout's servers changed outside; called before they are restarted. */
  async used(slot: Slot, { since, wrote }: Use): Promise<void> {
    for (const name of wrote) {
      const looks = this.#looks.get(name) ?? 0;
      const session = slot.sessions.get(name);
      const endpoint = session?.endpoint;
      if (this.#found.has(name) || looks >= MAX_LOOKS || !session?.pid || endpoint?.kind !== "stdio") continue;
      if (endpoint.spec.container) continue;
      this.#looks.set(name, looks + 1);
      const suspect = { spec: endpoint.spec, group: session.pid, inside: this.inside, since: since - CLOCK_MS };
      const path = await changedOutside(suspect);
      if (path === null || this.#found.has(name)) continue;
      this.#found.add(name);
      this.#warn(mcp.state_outside(name, path));
    }
  }

  #isOwn(name: string): boolean {
    const server = this.servers.get(name);
    return server !== undefined && server.is_process && !server.is_shared_process;
  }

  #warn({ message, hint }: Diagnostic): void {
    this.log.warn(`${message}; ${hint}`);
  }
}
