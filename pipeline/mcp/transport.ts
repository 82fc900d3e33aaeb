/**
 * Transports by endpoint: stdio in a process group of its own, streamable HTTP, and the older SSE.
 * @module
 */
import { SSEClientTransport, StreamableHTTPClientTransport, type Transport } from "@modelcontextprotocol/client";
import type { CatalogServer } from "../events.ts";
import type { ProcessSpec } from "./process.ts";
import { StdioTransport } from "./stdio.ts";

/** How a server is reached, everything expanded. */
export type Endpoint =
  | { kind: "stdio"; spec: ProcessSpec; max_message_bytes: number }
  | { kind: "url"; url: string; transport: "auto" | "http" | "sse"; headers: Record<string, string> };

/** A transport that may know why it closed and what its server wrote last. */
export type OpenTransport = Transport & { readonly cause?: string; readonly tail?: string };

/** Makes the transport of an endpoint; nothing is started yet. */
export function openTransport(endpoint: Endpoint): { transport: OpenTransport; kind: CatalogServer["transport"] } {
  if (endpoint.kind === "stdio") {
    return { transport: new StdioTransport(endpoint.spec, endpoint.max_message_bytes), kind: "stdio" };
  }
  const url = new URL(endpoint.url);
  const requestInit = { headers: endpoint.headers };
  if (endpoint.transport === "sse") return { transport: new SSEClientTransport(url, { requestInit }), kind: "sse" };
  return { transport: new StreamableHTTPClientTransport(url, { requestInit }), kind: "http" };
}
