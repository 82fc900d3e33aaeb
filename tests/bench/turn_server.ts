/**
 * A small MCP server with one tool, `echo`, in a process of its own: over stdio, or over streamable HTTP with a session
 * for each client (it prints its port), answering in JSON, or in event streams with another held open for each session.
 * Arguments: `stdio`, `http` or `http-sse`.
 * @module
 */
import { createInterface } from "node:readline";
import process from "node:process";

interface Message {
  id?: number | string;
  method?: string;
  params?: { protocolVersion?: string; arguments?: { message?: string } };
}

const tool = {
  name: "echo",
  description: "Says it again.",
  inputSchema: { type: "object", properties: { message: { type: "string" } }, required: ["message"] },
  annotations: { readOnlyHint: true },
};

function answer({ id, method, params }: Message): object | null {
  if (id === undefined) return null;
  const result = method === "initialize"
    ? {
      protocolVersion: "2025-06-18",
      capabilities: { tools: {} },
      serverInfo: { name: "bench", version: "1.0.0" },
    }
    : method === "tools/list"
    ? { tools: [tool] }
    : method === "tools/call"
    ? { content: [{ type: "text", text: String(params?.arguments?.message) }] }
    : method === "ping"
    ? {}
    : undefined;
  return { jsonrpc: "2.0", id, ...(result ? { result } : { error: { code: -32601, message: "Method not found" } }) };
}

if (Deno.args[0] === "stdio") {
  for await (const line of createInterface({ input: process.stdin })) {
    const said = answer(JSON.parse(line));
    if (said) process.stdout.write(JSON.stringify(said) + "\n");
  }
} else {
  const sessions = new Set<string>();
  const streams = Deno.args[0] === "http-sse";
  const type = { "content-type": "text/event-stream" };
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(port) }, async (request) => {
    const session = request.headers.get("mcp-session-id");
    if (session !== null && !sessions.has(session)) return new Response("no such session", { status: 404 });
    if (request.method === "DELETE") return new Response(null, { status: sessions.delete(session ?? "") ? 200 : 404 });
    if (request.method === "GET" && streams) return new Response(new ReadableStream(), { headers: type });
    if (request.method !== "POST") return new Response(null, { status: 405 });
    const message: Message = await request.json();
    const said = answer(message);
    if (said === null) return new Response(null, { status: 202 });
    const made = message.method === "initialize" ? { "mcp-session-id": crypto.randomUUID() } : undefined;
    if (made) sessions.add(made["mcp-session-id"]);
    if (!streams) return Response.json(said, { headers: made });
    const event = new Blob([`event: message\ndata: ${JSON.stringify(said)}\n\n`]).stream();
    return new Response(event, { headers: { ...type, ...made } });
  });
}
