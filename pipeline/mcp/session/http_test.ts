import { createMcpHandler, inputRequired, McpServer } from "@modelcontextprotocol/server";
import assert from "node:assert/strict";
import { z } from "zod";
import { openPool, scenario, serverConfig } from "../../../tests/fixtures/test_pool.ts";
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

/** A server of the old revisions that counts what it is asked; it gives out sessions, or is without any. */
function legacyServer(with_sessions: boolean) {
  const asked: Record<string, number> = {};
  const sessions = new Set<string>();
  const handler = async (request: Request) => {
    const session = request.headers.get("mcp-session-id");
    const message = request.method === "POST" ? await request.json() : {};
    const what: string = message.method ?? request.method;
    asked[what] = (asked[what] ?? 0) + 1;
    if (request.method === "DELETE") sessions.delete(session!);
    if (request.method !== "POST") return new Response(null, { status: request.method === "DELETE" ? 200 : 405 });
    const text = session ?? "no session";
    const results: Record<string, object> = {
      initialize: {
        protocolVersion: "2025-06-18",
        capabilities: { tools: {} },
        serverInfo: { name: "it", version: "1" },
      },
      "tools/list": { tools: [{ name: "whose", inputSchema: { type: "object" } }] },
      "tools/call": { content: [{ type: "text", text }] },
    };
    if (message.id === undefined) return new Response(null, { status: 202 });
    const result = results[what];
    const answer = result ? { result } : { error: { code: -32601, message: "Method not found" } };
    const made = crypto.randomUUID();
    if (what === "initialize" && with_sessions) sessions.add(made);
    const headers: HeadersInit = what === "initialize" && with_sessions ? { "mcp-session-id": made } : {};
    return Response.json({ jsonrpc: "2.0", id: message.id, ...answer }, { headers });
  };
  return { asked, sessions, handler };
}

for (const with_sessions of [true, false]) {
  const what = with_sessions ? "opens a session for each rollout" : "keeps a connection that has no session";
  Deno.test(`EnvironmentPool ${what}`, async () => {
    const { asked, sessions, handler } = legacyServer(with_sessions);
    using server = serve(handler);
    {
      await using made = await openPool({ it: serverConfig({ url: server.url, allow_writes: true }) });
      const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal: forever };
      const seen = new Set<string>();
      for (let i = 0; i < 3; i++) {
        const one = await made.pool.lease(wanted);
        assert.equal(one.workdir, null);
        seen.add((await one.call("whose", {})).text);
        await one.release();
      }
      // Waits until the slot is as good as new; not released, since closing may not meet a session that is being made.
      await made.pool.lease(wanted);
      assert.equal(seen.size, with_sessions ? 3 : 1);
      assert.equal(asked["server/discover"], 1);
      assert.ok(with_sessions ? asked.initialize! >= 4 : asked.initialize === 1, `${asked.initialize} greetings`);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(made.run_dir)), []);
    }
    assert.equal(sessions.size, 0);
  });
}

Deno.test("Session.close() does not wait for a server that never answers the end of its session", async () => {
  const { handler } = legacyServer(true);
  const gone = Promise.withResolvers<void>();
  using server = serve((request) => {
    if (request.method !== "DELETE") return handler(request);
    request.signal.addEventListener("abort", () => gone.resolve());
    return new Promise<Response>(() => {});
  });
  const session = await Session.open("it", endpoint(server.url), { start_timeout_secs: 5 });
  await session.close();
  await gone.promise;
});

const messages = [{ role: "user" as const, content: { type: "text" as const, text: "What now?" } }];

/** A server whose tool `sample` asks its client's model, and answers with what it got. */
function samplingServer() {
  return createMcpHandler(() => {
    const server = new McpServer({ name: "asking", version: "1.0.0" });
    server.registerTool("sample", {}, ({ mcpReq }) => {
      const answers = mcpReq.inputResponses;
      if (answers) return { content: [{ type: "text", text: JSON.stringify(answers.it) }] };
      return inputRequired({ inputRequests: { it: inputRequired.createMessage({ messages, maxTokens: 9 }) } });
    });
    return server;
  });
}

/** Two calls of `sample`, and what was logged. */
async function sampled(url: string, more: object = {}) {
  const logged: string[] = [];
  const log = { debug() {}, warn() {}, info: (message: string) => logged.push(message) };
  await using made = await openPool({ it: serverConfig({ url, allow_writes: true, ...more }) }, { log });
  const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal: forever };
  const one = await made.pool.lease(wanted);
  const calls = [await one.call("sample", {}), await one.call("sample", {})];
  await one.release();
  return { calls: calls.map(({ outcome, text }) => [outcome, text]), logged };
}

Deno.test("EnvironmentPool does not offer sampling in revision 2026-07-28", async () => {
  const handler = samplingServer();
  using server = serve(handler.fetch);
  const refused = [
    "protocol_error",
    "Cannot request input 'it' (sampling/createMessage): the request's client capabilities do not declare the required capability",
  ];
  assert.deepEqual(await sampled(server.url), { calls: [refused, refused], logged: [] });
});

Deno.test("EnvironmentPool ends a call whose server asks for sampling that was not offered", async () => {
  const handler = samplingServer();
  using server = serve(async (request) => {
    if (request.headers.get("mcp-method") !== "tools/call") return handler.fetch(request);
    const inputRequests = { it: { method: "sampling/createMessage", params: { messages, maxTokens: 9 } } };
    const { id } = await request.json();
    return Response.json({ jsonrpc: "2.0", id, result: { resultType: "input_required", inputRequests } });
  });
  const { calls } = await sampled(server.url);
  for (const [outcome, text] of calls) {
    assert.equal(outcome, "protocol_error");
    assert.match(text!, /^Cannot fulfil input request 'it': no handler is registered for 'sampling\/createMessage'/);
  }
});

Deno.test("EnvironmentPool answers sampling of revision 2026-07-28 with the server's text, and logs it once", async () => {
  const handler = samplingServer();
  using server = serve(handler.fetch);
  const { calls, logged } = await sampled(server.url, { sampling: { text: "Wait." } });
  const content = { type: "text", text: "Wait." };
  const answer = JSON.stringify({ role: "assistant", content, model: "hone", stopReason: "endTurn" });
  assert.deepEqual(calls, [["ok", answer], ["ok", answer]]);
  assert.deepEqual(logged, [
    'server "it" sent a request to its client (sampling/createMessage); the response is always: a fixed text',
  ]);
});
