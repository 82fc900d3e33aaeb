/**
 * Inspects servers without a run: what each offers with its risks, and single calls under hone's limits. Used by
 * `hone discover` and `hone call`.
 * @module
 */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeFolder } from "../../common/open_folder.ts";
import { estimateTool } from "../../chat/tool_text.ts";
import { HoneError, mcp } from "../../diagnostics/mod.ts";
import type { CallOutcome, Catalog, CatalogServer, Json, JsonObject, ToolSpec } from "../../events.ts";
import type { Log } from "../../plugin.ts";
import { joinCatalogs } from "./catalog.ts";
import type { Declared } from "../declared/declare.ts";
import { EnvironmentPool } from "../pool/pool.ts";
import { risksOf } from "./risks.ts";

/** A server as `discover` shows it. */
export type InspectedServer = CatalogServer & {
  tools: Omit<ToolSpec, "server">[];
  /** Estimated tokens of all its tools. */
  tokens: number;
  /** The same under `agent.tool_schemas: compact`. */
  compact_tokens: number;
  /** What may go wrong with these tools, one line each. */
  risks: string[];
};

/** What `discover` found; a server that cannot be used is in `failed` and does not hide the others. */
export interface Inspection {
  servers: InspectedServer[];
  failed: { name: string; error: HoneError }[];
  catalog: Catalog;
}

/** One call as `hone call` shows it. */
export interface InspectedCall {
  server: string;
  tool: string;
  arguments: JsonObject;
  outcome: CallOutcome;
  text: string;
  result: Json;
  seconds: number;
}

const QUIET: Log = { debug() {}, info() {}, warn() {} };

/** Connects to every declared server and reads what it offers. */
export function inspectServers(declared: Declared, signal: AbortSignal): Promise<Inspection> {
  return withPool(declared, signal, async (pool) => {
    const found: Catalog[] = [];
    const failed: Inspection["failed"] = [];
    await Promise.all(
      Object.keys(declared.servers).map(async (name) => {
        try {
          found.push(await pool.discover(name));
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof HoneError)) throw error;
          failed.push({ name, error });
        }
      }),
    );
    const order = Object.keys(declared.servers);
    found.sort((a, b) => order.indexOf(a.servers[0]!.name) - order.indexOf(b.servers[0]!.name));
    const catalog = joinCatalogs(found);
    return { servers: catalog.servers.map((server) => inspected(server, catalog)), failed, catalog };
  });
}

/**
 * Calls one tool once. The person who asks for a call allows it: shared servers and writing tools too.
 * Throws where the server cannot be used or has no such tool; every other failure is an outcome.
 */
export function callTool(
  declared: Declared,
  call: { tool: string; arguments: JsonObject },
  signal: AbortSignal,
): Promise<InspectedCall> {
  const [name, ...others] = Object.keys(declared.servers);
  if (name === undefined || others.length) throw new HoneError(mcp.which_server([name ?? "", ...others]));
  return withPool(declared, signal, async (pool) => {
    const catalog = await pool.discover(name);
    const names = catalog.tools.map((tool) => tool.name);
    if (!names.includes(call.tool)) throw new HoneError(mcp.unknown_tool(call.tool, name, names));
    const scenario = { id: "call", task: "", split: "train" as const, tags: [], checks: [] };
    const lease = await pool.lease({ rollout_id: "call", scenario, catalog, signal });
    const { outcome, text, result, seconds } = await lease.observe({ server: name, ...call });
    return { server: name, ...call, outcome, text, result, seconds };
  });
}

async function withPool<T>(
  { servers, base_dir }: Declared,
  signal: AbortSignal,
  use: (pool: EnvironmentPool) => Promise<T>,
): Promise<T> {
  const run_dir = await mkdtemp(join(tmpdir(), "hone-"));
  try {
    await using pool = new EnvironmentPool({ servers, base_dir, run_dir, allow_writes: true, log: QUIET, signal });
    return await use(pool);
  } finally {
    await removeFolder(run_dir);
  }
}

function inspected(server: CatalogServer, catalog: Catalog): InspectedServer {
  const own = catalog.tools.filter((tool) => tool.server === server.name);
  return {
    ...server,
    tools: own.map(({ server: _, ...tool }) => tool),
    tokens: own.reduce((sum, tool) => sum + tool.tokens, 0),
    compact_tokens: own.reduce((sum, tool) => sum + estimateTool(tool, "native", "compact"), 0),
    risks: [...server.problems ?? [], ...risksOf(own, catalog.tools)],
  };
}
