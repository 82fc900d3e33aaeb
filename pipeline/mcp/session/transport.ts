/**
 * Transports by endpoint: stdio in its own process group, streamable HTTP, and the older SSE. A transport buffers at
 * most one response of `max_message_bytes`, and closing it aborts every request in progress.
 * @module
 */
import { SSEClientTransport, StreamableHTTPClientTransport, type Transport } from "@modelcontextprotocol/client";
import type { CatalogServer } from "../../events.ts";
import { serverFetch } from "./fetch.ts";
import type { OAuth } from "../auth/oauth.ts";
import type { ProcessSpec } from "./process.ts";
import { StdioTransport } from "./stdio.ts";

/** How a server is reached, everything expanded. `max_message_bytes` bounds one answer. */
export type Endpoint =
  & { max_message_bytes: number }
  & (
    | { kind: "stdio"; spec: ProcessSpec }
    | { kind: "url"; url: string; transport: "auto" | "http" | "sse"; headers: Record<string, string>; auth?: OAuth }
  );

/** A transport that may know its process, why it closed and what its server wrote last. */
export type OpenTransport = Transport & {
  readonly pid?: number | null;
  readonly cause?: string;
  readonly tail?: string;
  endLeftBehind?(): Promise<void>;
};

/** A transport with what must be closed beside it. */
export interface Opened {
  transport: OpenTransport;
  kind: CatalogServer["transport"];
  close(): Promise<void>;
}

/** Makes the transport of an endpoint; nothing is started yet. */
export function openTransport(endpoint: Endpoint): Opened {
  if (endpoint.kind === "stdio") {
    const transport = new StdioTransport(endpoint.spec, endpoint.max_message_bytes);
    return { transport, kind: "stdio", close: () => transport.close() };
  }
  const url = new URL(endpoint.url);
  const options = { fetch: serverFetch(endpoint) };
  if (endpoint.transport === "sse") return opened(new SSEClientTransport(url, options), "sse");
  return opened(new StreamableHTTPClientTransport(url, options), "http");
}

const GOODBYE_MS = 1000;

function opened(transport: SSEClientTransport | StreamableHTTPClientTransport, kind: "http" | "sse"): Opened {
  const close = async () => {
    // A server that keeps sessions would keep one for each rollout.
    if ("terminateSession" in transport && transport.sessionId) {
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(late.resolve, GOODBYE_MS);
      await Promise.race([transport.terminateSession().catch(() => {}), late.promise]);
      clearTimeout(timer);
    }
    await transport.close();
  };
  return { transport, kind, close };
}
