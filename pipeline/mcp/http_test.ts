import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import assert from "node:assert/strict";
import { z } from "zod";
import { openPool, scenario, serverConfig } from "../../tests/fixtures/pool.ts";
import { Session } from "./session.ts";

const LIMITS = { timeout_secs: 10 };
const forever = new AbortController().signal;

/** Serves until disposed; the address has a path. */
function serve(handler: (request: Request) => Response | Promise<Response>) {
  const stop = new AbortController();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {}, signal: stop.signal }, handler);
  const url = `http://127.0.0.1:${server.addr.port}/mcp`;
  return { url, [Symbol.dispose]: () => stop.abort() };
}

/** A server of revision 2026-07-28 that answers the old way too. */
function modernServer(calls: { count: number }) {
  return createMcpHandler(() => {
    const server = new McpServer({ name: "modern", version: "1.0.0" });
    const inputSchema = z.object({ a: z.number(), b: z.number() });
    const annotations = { readOnlyHint: true };
    server.registerTool("add", { inputSchema, annotations }, ({ a, b }) => {
      calls.count++;
      return { content: [{ type: "text", text: String(a + b) }] };
    });
    return server;
  });
}

const endpoint = (
  url: string,
  headers = {},
) => ({ kind: "url", url, transport: "auto", headers, max_message_bytes: 1_000_000 } as const);

Deno.test("EnvironmentPool speaks revision 2026-07-28 where the server does", async () => {
  const calls = { count: 0 };
  const handler = modernServer(calls);
  using server = serve(handler.fetch);
  await using made = await openPool({ it: serverConfig({ url: server.url, read_only_tools: ["add"] }) });
  assert.equal(made.catalog.servers[0]!.protocol, "2026-07-28");
  const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal: forever };
  const one = await made.pool.lease(wanted);
  assert.equal((await one.call("add", { a: 1, b: 2 })).text, "3");
  await one.release();
});

Deno.test("EnvironmentPool repeats a read-only call when the network fails, and no other", async () => {
  const calls = { count: 0 };
  const handler = modernServer(calls);
  let failing = 0;
  using server = serve((request) => {
    if (request.headers.get("mcp-method") === "tools/call" && failing-- > 0) {
      return new Response("try again", { status: 503 });
    }
    return handler.fetch(request);
  });
  await using made = await openPool({ it: serverConfig({ url: server.url, allow_writes: true }) });
  const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal: forever };
  const one = await made.pool.lease(wanted);
  failing = 2;
  const add = await one.call("add", { a: 1, b: 2 });
  assert.deepEqual([add.outcome, add.text, calls.count], ["ok", "3", 1]);
  made.catalog.tools[0]!.annotations = {};
  failing = 2;
  const once = await one.call("add", { a: 1, b: 2 });
  assert.deepEqual([once.outcome, failing], ["server_died", 1]);
});

Deno.test("Session sends the declared headers", async () => {
  const seen = new Set<string | null>();
  const handler = modernServer({ count: 0 });
  using server = serve((request) => {
    seen.add(request.headers.get("authorization"));
    return handler.fetch(request);
  });
  const session = await Session.open("it", endpoint(server.url, { Authorization: "Bearer abcdefgh" }), {
    start_timeout_secs: 5,
  });
  assert.equal((await session.call("add", { a: 1, b: 1 }, LIMITS)).text, "2");
  await session.close();
  assert.deepEqual([...seen], ["Bearer abcdefgh"]);
});

Deno.test("Session.call() gives up an answer over HTTP that is too large", async () => {
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: "large", version: "1.0.0" });
    server.registerTool("big", {}, () => ({ content: [{ type: "text", text: "y".repeat(2_000_000) }] }));
    return server;
  });
  using server = serve(handler.fetch);
  const session = await Session.open("it", endpoint(server.url), { start_timeout_secs: 5 });
  const result = await session.call("big", {}, { timeout_secs: 3 });
  assert.deepEqual([result.outcome, session.broken], ["server_died", true]);
  await session.close();
});
