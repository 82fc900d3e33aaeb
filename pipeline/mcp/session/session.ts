/**
 * One connection to one MCP server, with negotiation and time limits. Opening throws a HoneError with the reason why
 * the server cannot be used; a call always returns a `CallResult` and never throws. A server's requests to its client
 * are answered automatically: elicitation is declined or accepted with its defaults, the rollout's folder is the only
 * root, if there is one, and sampling is not offered, or answered with a fixed text.
 * @module
 */
import { Client, type PriorDiscovery, ProtocolError, SdkError, SdkErrorCode } from "@modelcontextprotocol/client";
import { pathToFileURL } from "node:url";
import { z } from "zod";
import { HoneError, mcp, messageOf } from "../../diagnostics/mod.ts";
import type { CallOutcome, CatalogServer, Json, JsonObject } from "../../events.ts";
import type { CallResult } from "../../plugin.ts";
import { findCause, innermost } from "../../common/causes.ts";
import { withoutHanded, withoutHandedProse } from "../../common/redact.ts";
import { VERSION } from "../../common/version.ts";
import { explain, Failure } from "./failure.ts";
import { TooManyRequests } from "./fetch.ts";
import { type Endpoint, type Opened, openTransport } from "./transport.ts";
import { resourceText, resultText } from "./tool_result.ts";

/** A tool as its server lists it; only the name is sure to be there. */
export type RawTool = { name: string } & JsonObject;

/** Limits of one call. */
export interface CallLimits {
  /** Seconds without an answer or a progress notification. */
  timeout_secs: number;
  signal?: AbortSignal;
}

/** What a session needs to open. */
export interface OpenOptions {
  start_timeout_secs: number;
  signal?: AbortSignal;
  /** Response to elicitation: `decline` (default), or `accept` with the form's defaults. */
  elicitation?: "decline" | "accept";
  /** Response to sampling requests. By default sampling is not offered. */
  sampling?: "decline" | { text: string };
  /** The server asked for something that policy answered. */
  on_asked?: (method: string, answer: string) => void;
  /** Folder that `roots/list` names; without one hone says that it has no roots. */
  root?: string;
  /** Called when the server reports that its tools have changed. */
  on_tools_changed?: (session: Session) => void;
  /** What an earlier session with the same server negotiated; saves the probe. */
  prior?: PriorDiscovery;
  /** Waits for the answer to the probe as long as for the start. */
  patient?: boolean;
}

const PROBE_SECS = 5;
const MAX_PAGES = 1000;
const LEGACY: PriorDiscovery = { kind: "legacy" };
const page = z.looseObject({ nextCursor: z.string().optional() });

/** An open connection to a server. */
export class Session {
  #lost = false;

  private constructor(
    readonly server: string,
    readonly endpoint: Endpoint,
    private readonly client: Client,
    private readonly opened: Opened,
  ) {}

  /** How the server is reached. */
  get kind(): CatalogServer["transport"] {
    return this.opened.kind;
  }

  /**
   * Connects and negotiates, within `start_timeout_secs` for each attempt. A server that ends (stdio) or is silent
   * (HTTP) when it is asked for its revision is greeted again in the old way; one that was only slow to start, and
   * takes the question for its greeting, is asked again and waited for; streamable HTTP falls back to SSE.
   */
  static async open(server: string, endpoint: Endpoint, options: OpenOptions): Promise<Session> {
    try {
      return await Session.#connect(server, endpoint, options);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.next === "legacy" && !options.prior) {
        return await Session.#connect(server, endpoint, { ...options, prior: LEGACY }).catch(rethrow);
      }
      if (error.next === "patient") {
        return await Session.#connect(server, endpoint, { ...options, patient: true }).catch(rethrow);
      }
      if (error.next !== "sse" || endpoint.kind !== "url" || endpoint.transport !== "auto") throw error.error;
      return await Session.#connect(server, { ...endpoint, transport: "sse" }, options).catch(() => {
        throw error.error;
      });
    }
  }

  static async #connect(server: string, endpoint: Endpoint, options: OpenOptions): Promise<Session> {
    const opened = openTransport(endpoint);
    const client = new Client({ name: "hone", version: VERSION }, {
      capabilities: {
        elicitation: { form: { applyDefaults: true } },
        ...(options.root && { roots: {} }),
        ...(sampled(options) !== undefined && { sampling: {} }),
      },
      versionNegotiation: { mode: "auto", probe: { timeoutMs: probeMs(options) } },
    });
    answerRequests(client, options);
    client.onerror = () => {};
    const timeout = options.start_timeout_secs * 1000;
    const limit = AbortSignal.timeout(timeout);
    const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
    const prior = options.prior ?? (opened.kind === "sse" ? LEGACY : undefined);
    const started = performance.now();
    try {
      await raced(client.connect(opened.transport, { timeout, signal, ...(prior && { prior }) }), signal);
      const session = new Session(server, endpoint, client, opened);
      if (options.on_tools_changed) session.#watchTools(options.on_tools_changed, !options.prior, timeout);
      return session;
    } catch (error) {
      const unanswered = !prior && !options.patient && performance.now() - started >= probeMs(options);
      const signals = { limit, secs: options.start_timeout_secs, stop: options.signal, unanswered };
      const failure = explain(server, endpoint, opened.transport, error, signals);
      await opened.close().catch(() => {});
      await client.close().catch(() => {});
      throw failure;
    }
  }

  /** Revision 2026-07-28 tells only those who listen: one for a server that all reach, each one for its own process. */
  #watchTools(changed: (session: Session) => void, first: boolean, timeout: number) {
    this.client.setNotificationHandler("notifications/tools/list_changed", () => changed(this));
    const modern = this.client.getProtocolEra() === "modern";
    if (!modern || !(first || this.kind === "stdio") || !this.client.getServerCapabilities()?.tools?.listChanged) {
      return;
    }
    this.client.listen({ toolsListChanged: true }, { timeout }).catch(() => {});
  }

  /** True once the connection is closed, whoever closed it, or a request could not be carried over it. */
  get broken(): boolean {
    return this.#lost || this.client.transport === undefined;
  }

  /** Whether the server may keep something for this connection alone: over HTTP, only where it gave it a session. */
  get has_state(): boolean {
    return this.kind !== "http" || this.opened.transport.sessionId !== undefined;
  }

  /** Id of the server's process (and of its group), where hone started one. */
  get pid(): number | null {
    return this.opened.transport.pid ?? null;
  }

  /** What later sessions with this server may take as known. */
  get prior(): PriorDiscovery {
    const discover = this.client.getDiscoverResult();
    return discover ? { kind: "modern", discover } : LEGACY;
  }

  /** The server as the catalog records it, without its resources and prompts. */
  get description(): Pick<CatalogServer, "name" | "transport" | "protocol" | "implementation" | "instructions"> {
    const { name = "", version = "" } = this.client.getServerVersion() ?? {};
    const instructions = this.client.getInstructions();
    return {
      name: this.server,
      transport: this.kind,
      protocol: this.client.getNegotiatedProtocolVersion() ?? "",
      implementation: { name: withoutHanded(name), version: withoutHanded(version) },
      ...(instructions && { instructions: withoutHanded(instructions) }),
    };
  }

  /** Whether the server says that it has tools, resources or prompts. */
  offers(what: "tools" | "resources" | "prompts"): boolean {
    return this.client.getServerCapabilities()?.[what] !== undefined;
  }

  /** All pages of a list, entries as they came. Throws a HoneError where the server cannot list. */
  async list(
    what: "tools" | "resources" | "resourceTemplates" | "prompts",
    limits: CallLimits,
  ): Promise<JsonObject[]> {
    const method = what === "resourceTemplates" ? "resources/templates/list" : `${what}/list`;
    const entries: JsonObject[] = [];
    const cursors = new Set<string>();
    let cursor: string | undefined;
    let held = 0;
    try {
      do {
        const request = { method, params: cursor === undefined ? {} : { cursor } };
        const answer = await this.client.request(request, page, this.#request(limits));
        const got = answer[what];
        if (!Array.isArray(got)) throw new Error(`the answer has no list "${what}"`);
        held += JSON.stringify(got).length;
        if (held > this.endpoint.max_message_bytes) {
          throw new Error(`its pages have more than ${this.endpoint.max_message_bytes} characters`);
        }
        entries.push(...got.filter((entry) => typeof entry === "object" && entry !== null));
        cursor = answer.nextCursor;
        if (cursor !== undefined && (cursors.has(cursor) || cursors.size > MAX_PAGES)) {
          throw new Error(`its pages do not end (cursor ${JSON.stringify(cursor)})`);
        }
        if (cursor !== undefined) cursors.add(cursor);
      } while (cursor !== undefined);
    } catch (error) {
      const { cause: ended, tail = "" } = this.opened.transport;
      const cause = ended ? `it ${ended}` : messageOf(error);
      throw new HoneError(mcp.list_failed(this.server, what, cause, ended ? tail : ""), { cause: error });
    }
    return entries.map((entry) => withoutHandedProse(entry) as JsonObject);
  }

  /** Whether arguments may be repeated as headers, as modern HTTP wants it of schemas that say so. */
  get mirrors(): boolean {
    return this.kind === "http" && this.client.getProtocolEra() === "modern";
  }

  /** Calls a tool by the server's own name. Never throws. `input_schema` says which arguments are headers too. */
  call(tool: string, args: JsonObject, limits: CallLimits, input_schema?: JsonObject): Promise<CallResult> {
    return this.#recorded(limits, async () => {
      const params = { name: tool, arguments: args };
      const options = this.#request(limits);
      // The SDK mirrors arguments; it is not told the output schema, since its check of that would lose the result.
      const toolDefinition = { name: tool, inputSchema: { ...input_schema, type: "object" as const } };
      const result = this.mirrors
        ? await this.client.callTool(params, { ...options, toolDefinition })
        : await this.client.request({ method: "tools/call", params }, options);
      return {
        outcome: result.isError === true ? "tool_error" : "ok",
        text: resultText(result),
        result: result as unknown as Json,
      };
    });
  }

  /** Reads a resource as if it were a tool. Never throws. */
  read(uri: string, limits: CallLimits): Promise<CallResult> {
    return this.#recorded(limits, async () => {
      const result = await this.client.request({ method: "resources/read", params: { uri } }, this.#request(limits));
      return { outcome: "ok", text: resourceText(result.contents), result: result as unknown as Json };
    });
  }

  /** Ends what the server's process has left behind, such as daemons; the session stays open. */
  async endLeftBehind(): Promise<void> {
    await this.opened.transport.endLeftBehind?.();
  }

  async close(): Promise<void> {
    await this.opened.close().catch(() => {});
    await this.client.close().catch(() => {});
  }

  #request({ timeout_secs, signal }: CallLimits) {
    return { timeout: timeout_secs * 1000, signal, onprogress: () => {}, resetTimeoutOnProgress: true };
  }

  async #recorded(limits: CallLimits, run: () => Promise<Omit<CallResult, "seconds">>): Promise<CallResult> {
    const started = performance.now();
    let made: Omit<CallResult, "seconds">;
    try {
      made = await run();
    } catch (error) {
      made = this.#failed(error, limits);
    }
    return { ...made, seconds: (performance.now() - started) / 1000 };
  }

  #failed(error: unknown, { timeout_secs, signal }: CallLimits): Omit<CallResult, "seconds"> {
    const message = messageOf(error);
    if (signal?.aborted) return failed("cancelled", "The call was cancelled.", "cancelled");
    if (error instanceof ProtocolError) return failed("protocol_error", message, error.code);
    if (error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout) {
      return failed("timeout", `The tool did not answer within ${timeout_secs} s.`, "timeout");
    }
    if (error instanceof RangeError) return failed("invalid_arguments", "The arguments are nested too deep.", "range");
    if (error instanceof SdkError && MALFORMED.has(error.code)) return failed("protocol_error", message, error.code);
    const many = findCause(error, TooManyRequests);
    if (many) return tooMany(many);
    this.#lost = true;
    const cause = this.opened.transport.cause ?? (error instanceof Error ? innermost(error) : message);
    const text = this.endpoint.kind === "stdio" ? `The server ${cause}.` : `The server cannot be reached: ${cause}`;
    const stderr = this.opened.transport.tail;
    return {
      outcome: "server_died",
      text,
      result: { error: { code: "server_died", message: text, ...(stderr && { stderr }) } },
    };
  }
}

const MALFORMED: ReadonlySet<string> = new Set([
  SdkErrorCode.InvalidResult,
  SdkErrorCode.UnsupportedResultType,
  SdkErrorCode.CapabilityNotSupported,
  SdkErrorCode.InputRequiredRoundsExceeded,
]);

function failed(outcome: CallOutcome, text: string, code: string | number): Omit<CallResult, "seconds"> {
  return { outcome, text, result: { error: { code, message: text } } };
}

/** The server lives and did nothing: this may be called again, whatever the tool does. */
function tooMany({ retry_after_secs, message }: TooManyRequests): Omit<CallResult, "seconds"> {
  const wait = retry_after_secs === undefined ? "" : `; it asks to wait ${retry_after_secs} s`;
  const text = `The server answered HTTP 429${wait}: ${message}`;
  return {
    outcome: "server_died",
    text,
    result: { error: { code: 429, message: text, ...(retry_after_secs !== undefined && { retry_after_secs }) } },
  };
}

/** The text that answers sampling; undefined where sampling is not offered. */
function sampled({ sampling = "decline" }: OpenOptions): string | undefined {
  return sampling === "decline" ? undefined : sampling.text;
}

/** What is offered here has its capability declared. */
function answerRequests(client: Client, options: OpenOptions): void {
  const { elicitation: action = "decline", root, on_asked } = options;
  client.setRequestHandler("elicitation/create", () => {
    on_asked?.("elicitation/create", action);
    return action === "accept" ? { action, content: {} } : { action };
  });
  const text = sampled(options);
  if (text !== undefined) {
    client.setRequestHandler("sampling/createMessage", () => {
      on_asked?.("sampling/createMessage", "a fixed text");
      return { role: "assistant", model: "hone", content: { type: "text", text }, stopReason: "endTurn" };
    });
  }
  if (root) {
    const roots = [{ uri: pathToFileURL(root).href, name: "workdir" }];
    client.setRequestHandler("roots/list", () => ({ roots }));
  }
}

function rethrow(error: unknown): never {
  throw error instanceof Failure ? error.error : error;
}

function probeMs({ start_timeout_secs, patient }: OpenOptions): number {
  if (patient) return start_timeout_secs * 1000;
  return Math.min(PROBE_SECS, start_timeout_secs / 2) * 1000;
}

/** The SDK's own timers bound each request of the handshake; this bounds the handshake. */
function raced<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
