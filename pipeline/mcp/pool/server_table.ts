/**
 * The servers of a pool: their tools by name, whether a tool may be called, whether it may be retried, and how a call
 * is made (a tool, or a resource offered as one).
 * @module
 */
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import type { Catalog, JsonObject, ToolSpec } from "../../events.ts";
import type { CallResult } from "../../plugin.ts";
import { filterTools, isNamed, schemaHash, serverCatalog, toolSpec } from "../catalog/catalog.ts";
import { isReadOnly } from "../declared/permitted.ts";
import { toolChanges } from "../catalog/drift.ts";
import { startLimit } from "../session/server_endpoint.ts";
import { headerProblem } from "../session/param_headers.ts";
import { resourceLines, type ResourceTools, resourceTools } from "../catalog/resources.ts";
import type { CallLimits, RawTool, Session } from "../session/session.ts";
import { messageOf } from "../../diagnostics/mod.ts";

/** Limits and permissions that hold for every server of a pool. */
export interface ServerRules {
  allow_writes: boolean;
  call_timeout_secs: number;
}

/** Differences between a server's current tools and the discovered ones. */
export interface ToolsChange {
  changes: string[];
  /** Hash of the current tools. */
  schema_hash: string;
}

/** Maximum number of reported changes of one server's tools. */
const MOST_CHANGES = 20;

/** One server: its declaration and its tools. */
export class KnownServer {
  readonly tools = new Map<string, ToolSpec>();
  #resources?: ResourceTools;
  #listed: ToolSpec[] | undefined;
  /** Tools that the server has, at any time since discovery, said to change things. */
  readonly #writing = new Set<string>();
  /** Reported changes of the tools, and how many of them the last list includes. */
  #reported = 0;
  #included = 0;
  readonly #told = new Set<string>();

  constructor(readonly name: string, readonly config: ServerConfig, private readonly rules: ServerRules) {}

  get is_process(): boolean {
    return "command" in this.config;
  }

  /** Seconds of one call. */
  get callTimeout(): number {
    return this.config.call_timeout_secs ?? this.rules.call_timeout_secs;
  }

  /** True for one process that all rollouts call. */
  get is_shared_process(): boolean {
    return this.is_process && this.config.isolation === "shared";
  }

  /** Reads the server's lists; keeps all tools for observation and returns those that the agent is offered. */
  async discover(session: Session, signal: AbortSignal): Promise<Catalog> {
    const limits = { timeout_secs: startLimit(this.config), signal };
    const problems: string[] = [];
    const listed = await this.#list(session, limits, problems);
    const has_resources = session.offers("resources");
    // Tools are what rollouts need; a server whose other lists fail is still of use.
    const tried = (what: "resources" | "prompts") =>
      session.list(what, limits).catch((error) => {
        signal.throwIfAborted();
        problems.push(messageOf(error));
        return [];
      });
    const resources = has_resources ? await tried("resources") : [];
    const templates = has_resources ? await session.list("resourceTemplates", limits).catch(() => []) : [];
    const prompts = session.offers("prompts") ? await tried("prompts") : [];
    const tools = filterTools(this.name, listed, this.config);
    this.#listed = [...listed];
    if (this.config.resources && has_resources) {
      this.#resources = resourceTools(listed.map(({ name }) => name), templates);
      const added = [this.#resources.list, this.#resources.read].map((tool) => toolSpec(this.name, tool));
      tools.push(...added);
      listed.push(...added);
    }
    this.tools.clear();
    for (const tool of listed) this.tools.set(tool.name, tool);
    const described = { ...session.description, ...(problems.length > 0 && { problems }) };
    return serverCatalog(described, { tools, resources, templates, prompts });
  }

  /** Lists the tools again; returns new differences from the discovered ones, or null. */
  async changed(session: Session, signal: AbortSignal): Promise<ToolsChange | null> {
    if (!this.#listed) return null;
    this.#reported++;
    const now = await this.#listAgain(session, { timeout_secs: startLimit(this.config), signal });
    const changes = toolChanges(this.#listed, now);
    const key = changes.join("\n");
    if (changes.length === 0 || this.#told.has(key) || this.#told.size >= MOST_CHANGES) return null;
    this.#told.add(key);
    return { changes, schema_hash: schemaHash(now) };
  }

  /** The tools that may be called over this connection; why others may not goes into `problems`. */
  async #list(session: Session, limits: CallLimits, problems: string[] = []): Promise<ToolSpec[]> {
    const raw = session.offers("tools") ? await session.list("tools", limits) as RawTool[] : [];
    const named = new Map<string, RawTool>();
    for (const tool of raw) {
      if (typeof tool.name !== "string") continue;
      if (named.has(tool.name)) problems.push(`tool ${tool.name} is listed more than once: the first is kept`);
      else named.set(tool.name, tool);
    }
    const tools = [...named.values()].map((tool) => toolSpec(this.name, tool));
    if (!session.mirrors) return tools;
    return tools.filter(({ name, input_schema }) => {
      const problem = headerProblem(input_schema);
      if (problem) problems.push(`tool ${name} is left out: ${problem}`);
      return problem === null;
    });
  }

  async #listAgain(session: Session, limits: CallLimits): Promise<ToolSpec[]> {
    const included = this.#reported;
    const now = await this.#list(session, limits);
    for (const { name, annotations } of now) if (saysWrites(annotations)) this.#writing.add(name);
    this.#included = Math.max(this.#included, included);
    return now;
  }

  /**
   * Why a tool may not be called now, or null: see `denial`. If the server has reported a change of its tools, they are
   * listed again first, over the given session.
   */
  async denialNow(tool: ToolSpec, session: () => Promise<Session>, signal: AbortSignal): Promise<string | null> {
    const denied = this.denial(tool);
    if (denied !== null || this.#writesAllowed || this.#included === this.#reported) return denied;
    try {
      await this.#listAgain(await session(), { timeout_secs: this.callTimeout, signal });
    } catch (error) {
      return `${this.#refusal(tool)}: its tools have changed, and cannot be listed again (${messageOf(error)}).`;
    }
    return this.denial(tool);
  }

  /**
   * Why a tool may not be called, or null. On a shared server only tools that the user lists as read-only may be
   * called, unless writing is allowed; the server's annotations can forbid a listed tool, but never allow another. What
   * they say now counts, too: a tool that starts to change things is rejected from then on.
   */
  denial(tool: ToolSpec): string | null {
    if (this.#writesAllowed || this.#isResource(tool.name)) return null;
    const on = this.#refusal(tool);
    if (!isNamed(this.config.read_only_tools ?? [], tool.name)) {
      return `${on}: servers.${this.name}.read_only_tools does not name it, and allow_writes is not set.`;
    }
    if (saysWrites(tool.annotations) || this.#writing.has(tool.name)) {
      return `${on}: the server itself says that it changes things, and allow_writes is not set.`;
    }
    return null;
  }

  /** A dead process has lost its state; a call over the network may be repeated where that changes nothing. */
  mayRetry(tool: ToolSpec): boolean {
    return !this.is_process && (this.isReadOnly(tool) || tool.annotations.idempotent === true);
  }

  /** Whether the server or the user's own list says that a tool changes nothing. */
  isReadOnly(tool: ToolSpec): boolean {
    const annotations = this.#writing.has(tool.name) ? {} : tool.annotations;
    return isReadOnly({ ...tool, annotations }, this.config);
  }

  get #writesAllowed(): boolean {
    return this.config.isolation !== "shared" || this.rules.allow_writes || this.config.allow_writes;
  }

  #refusal(tool: ToolSpec): string {
    return `"${tool.name}" may not be called on the shared server "${this.name}"`;
  }

  /** Calls a tool of this server, or reads a resource. */
  async run(session: Session, tool: ToolSpec, args: JsonObject, signal: AbortSignal): Promise<CallResult> {
    const limits = { timeout_secs: this.callTimeout, signal };
    if (!this.#isResource(tool.name)) return await session.call(tool.name, args, limits, tool.input_schema);
    if (tool.name === this.#resources!.read.name) return await session.read(String(args.uri), limits);
    const started = performance.now();
    const resources = await session.list("resources", limits);
    const seconds = (performance.now() - started) / 1000;
    return { outcome: "ok", text: resourceLines(resources), result: { resources }, seconds };
  }

  #isResource(name: string): boolean {
    return this.#resources !== undefined && (name === this.#resources.read.name || name === this.#resources.list.name);
  }
}

function saysWrites({ read_only, destructive }: ToolSpec["annotations"]): boolean {
  return read_only === false || (destructive === true && read_only !== true);
}

/** All servers of a pool by name. */
export class ServerTable {
  #servers: Map<string, KnownServer>;

  constructor(configs: Record<string, ServerConfig>, rules: ServerRules) {
    this.#servers = new Map(Object.entries(configs).map(([name, one]) => [name, new KnownServer(name, one, rules)]));
  }

  get(name: string): KnownServer | undefined {
    return this.#servers.get(name);
  }

  /** Names of the servers that each slot holds for itself, and of those that all slots share. */
  names(kind: "own" | "shared"): string[] {
    return [...this.#servers.values()].filter((one) => one.is_shared_process === (kind === "shared"))
      .map((one) => one.name);
  }

  /** A tool by its server's own name, or why there is none. The server may be left out where the name is unique. */
  find(tool: string, server?: string): ToolSpec | string {
    const candidates = server === undefined ? [...this.#servers.values()] : [this.#servers.get(server)];
    const found = candidates.flatMap((one) => one?.tools.get(tool) ?? []);
    if (found.length === 1) return found[0]!;
    if (found.length === 0) return `There is no tool "${tool}"${server ? ` on server "${server}"` : ""}.`;
    return `Several servers have a tool "${tool}": ${found.map((one) => one.server).join(", ")}. Say which.`;
  }
}
