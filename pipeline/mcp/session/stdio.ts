/**
 * The stdio transport of hone's MCP client: one server process in its own group, JSON-RPC lines. Keeps the end of
 * stderr and of invalid output on stdout, limits the size and depth of a message, and reports why the connection
 * closed. `close` kills the group immediately: a rollout's server has nothing to save.
 * @module
 */
import { Buffer } from "node:buffer";
import type { JSONRPCMessage, Transport } from "@modelcontextprotocol/client";
import { stripVTControlCharacters } from "node:util";
import { asObject } from "../../common/json.ts";
import { withoutHanded } from "../../common/redact.ts";
import { killLeftBehind, killProcess, type ProcessSpec, startProcess } from "./process.ts";
import { messageOf } from "../../diagnostics/mod.ts";

const TAIL_CHARS = 4000;
/** More is kept than is shown: of a secret that the cut goes through, nothing is shown. */
const KEPT_CHARS = 2 * TAIL_CHARS;
const MAX_DEPTH = 1000;
const DEPTH_CHECK_BYTES = 2 * MAX_DEPTH;
const NEWLINE = 10;
/**
 * For what has said nothing yet: `npx` cut short in the middle of installing leaves a package that never works again.
 */
const GRACE_MS = 5000;
/** Time for a server that no longer reads to end. */
const END_MS = 1000;
/** JSON-RPC's "invalid request", for want of a code for invalid answers. */
const INVALID = -32600;

/** A transport over a server process's stdin and stdout. */
export class StdioTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  /** Why the connection closed, in words; undefined while it is open or when hone closed it. */
  cause?: string;
  /** The SDK reads the presence of `stderr` and `pid` as "this is stdio". */
  readonly stderr = null;

  #child?: Deno.ChildProcess;
  #writer?: WritableStreamDefaultWriter<Uint8Array>;
  #tail = "";
  #noise = "";
  #closed = false;
  #heard = false;
  #ended = Promise.withResolvers<void>();

  constructor(readonly spec: ProcessSpec, readonly max_message_bytes: number) {}

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** The last lines of stderr, after what the server wrote to stdout that is not JSON-RPC. */
  get tail(): string {
    const whole = [this.#noise && `not JSON-RPC on stdout: ${this.#noise}`, this.#tail].filter(Boolean).join("\n");
    return withoutHanded(plain(whole)).slice(-TAIL_CHARS).trim();
  }

  async start(): Promise<void> {
    if (this.#closed) throw new Error("closed before it was started");
    this.#child = startProcess(this.spec);
    this.#writer = this.#child.stdin.getWriter();
    this.#writer.closed.catch(() => {});
    const errors = this.#readErrors(this.#child.stderr);
    this.#read(this.#child.stdout).then(async () => {
      const { code, signal } = await this.#child!.status;
      await Promise.race([errors, new Promise((resolve) => setTimeout(resolve, 100))]);
      await this.#end(signal ? `was ended by ${signal}` : `exited with code ${code}`);
    }).catch((error) => this.#end(messageOf(error)));
    await Promise.resolve();
  }

  async send(message: JSONRPCMessage): Promise<void> {
    if (!this.#writer || this.#closed) throw new Error(`the server ${this.cause ?? "is closed"}`);
    try {
      await this.#writer.write(new TextEncoder().encode(JSON.stringify(message) + "\n"));
    } catch (error) {
      // How the server ended says more than a broken pipe does.
      await Promise.race([this.#ended.promise, new Promise((resolve) => setTimeout(resolve, END_MS))]);
      throw this.cause === undefined ? error : new Error(`the server ${this.cause}`);
    }
  }

  async close(): Promise<void> {
    await this.#end(undefined);
  }

  /** Ends what the server has left behind, such as daemons; the server itself stays. */
  async endLeftBehind(): Promise<void> {
    if (this.#child && !this.#closed) await killLeftBehind(this.#child);
  }

  async #end(cause: string | undefined): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.cause = cause;
    this.#ended.resolve();
    if (this.#child) {
      await killProcess(this.#child, this.#heard ? 0 : GRACE_MS);
      await this.#writer?.abort().catch(() => {});
    }
    this.onclose?.();
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const parts: Uint8Array[] = [];
    let held = 0;
    for await (const chunk of stream) {
      let from = 0;
      for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
        parts.push(chunk.subarray(from, at));
        this.#line(parts.length === 1 ? parts[0]! : Buffer.concat(parts, held + at - from));
        parts.length = held = 0;
        from = at + 1;
      }
      if (from === chunk.length) continue;
      parts.push(chunk.subarray(from));
      held += chunk.length - from;
      if (held > this.max_message_bytes) throw new Error(`sent a message of more than ${this.max_message_bytes} bytes`);
    }
  }

  #line(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.#closed) return;
    if (bytes.length > DEPTH_CHECK_BYTES && tooDeep(bytes)) {
      throw new Error(`sent JSON nested more than ${MAX_DEPTH} deep`);
    }
    const text = new TextDecoder().decode(bytes);
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      this.#noise ||= shortened(text);
      return;
    }
    const read = asMessage(message);
    if (!read) {
      this.#noise ||= shortened(text);
      return;
    }
    this.#heard = true;
    this.onmessage?.(read);
  }

  async #readErrors(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of stream) {
        this.#tail = (this.#tail + decoder.decode(chunk.subarray(-KEPT_CHARS), { stream: true })).slice(-KEPT_CHARS);
      }
    } catch {
      // The process is gone; what was read stays.
    }
  }
}

/** The beginning of what is no JSON-RPC, for messages. */
function shortened(text: string): string {
  return withoutHanded(text.slice(0, KEPT_CHARS)).slice(0, 200);
}

/** Without colours, cursor movements and the rest of what a terminal would obey; progress bars become lines. */
function plain(text: string): string {
  return stripVTControlCharacters(text).replace(/\r+\n?/g, "\n").replace(/[^\n\t\P{Cc}]/gu, "");
}

/**
 * The message, without keys that are not JSON-RPC's; null where it is none. An answer without a result or error that
 * can be read becomes an error, so that whoever asked hears of it at once.
 */
function asMessage(value: unknown): JSONRPCMessage | null {
  const { jsonrpc, id, method, params, result, error } = asObject(value) ?? {};
  if (jsonrpc !== "2.0") return null;
  if (method !== undefined) return { jsonrpc, method, ...(id !== undefined && { id }), params } as JSONRPCMessage;
  if (typeof id !== "number" && typeof id !== "string") return null;
  if (asObject(result)) return { jsonrpc, id, result } as JSONRPCMessage;
  const { code, message } = asObject(error) ?? {};
  if (typeof code === "number" && typeof message === "string") return { jsonrpc, id, error } as JSONRPCMessage;
  const told = shortened(JSON.stringify(error ?? result) ?? "nothing");
  return { jsonrpc, id, error: { code: INVALID, message: `The server's answer is not JSON-RPC: ${told}` } };
}

/** True where brackets nest deeper than any tool result does; such JSON breaks the recursion of those that read it. */
function tooDeep(bytes: Uint8Array): boolean {
  let depth = 0;
  let quoted = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === 34) quoted = !quoted;
    else if (quoted) i += byte === 92 ? 1 : 0;
    else if (byte === 91 || byte === 123) {
      if (++depth > MAX_DEPTH) return true;
    } else if (byte === 93 || byte === 125) depth--;
  }
  return false;
}
