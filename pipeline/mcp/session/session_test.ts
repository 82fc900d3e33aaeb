import assert from "node:assert/strict";
import { TEST_SERVER } from "../../../tests/fixtures/test_pool.ts";
import { HoneError, mcp } from "../../diagnostics/mod.ts";
import { childEnv } from "../../program/child_env.ts";
import { Session } from "./session.ts";
import type { OpenOptions, RawTool } from "./session.ts";

const MODERN = new URL("../../../tests/fixtures/modern_stdio.ts", import.meta.url).pathname;
const LIMITS = { timeout_secs: 10 };

async function open(
  flags: string[] = [],
  start_timeout_secs = 20,
  max_message_bytes = 2_000_000,
  more: Partial<OpenOptions> = {},
) {
  const dir = await Deno.makeTempDir({ prefix: "hone-session-" });
  const remove = () => Deno.remove(dir, { recursive: true });
  const env = childEnv({}, { home: dir, tmp: dir });
  const spec = { command: "deno", args: ["run", "-A", TEST_SERVER, ...flags], env, cwd: dir };
  const endpoint = { kind: "stdio", spec, max_message_bytes } as const;
  try {
    const session = await Session.open("it", endpoint, { start_timeout_secs, ...more });
    return Object.assign(session, { [Symbol.asyncDispose]: () => session.close().then(remove) });
  } catch (error) {
    await remove();
    throw error;
  }
}

async function failure(flags: string[], start_timeout_secs?: number): Promise<HoneError> {
  const error = await open(flags, start_timeout_secs).then(() => null, (error) => error);
  assert(error instanceof HoneError, `wanted a HoneError, got ${error}`);
  return error;
}

Deno.test("Session.open() says why and shows stderr when the server exits", async () => {
  const { code, message } = await failure(["--exit"]);
  assert.equal(code, "SERVER_START_FAILED");
  assert.equal(message, 'Server "it" failed to start: it exited with code 3. Its stderr:\nno licence found');
});

Deno.test("Session.open() gives up in time when the server never answers", async () => {
  const { code, message } = await failure(["--silent"], 1);
  assert.equal(code, "SERVER_START_TIMEOUT");
  assert.equal(message, 'Server "it" did not answer within 1 s of starting');
});

Deno.test("Session.open() says what is missing when there is no such program", async () => {
  const spec = { command: "no-such-program", args: [], env: { PATH: "/usr/bin" }, cwd: "/" };
  const endpoint = { kind: "stdio", spec, max_message_bytes: 1000 } as const;
  await assert.rejects(Session.open("it", endpoint, { start_timeout_secs: 5 }), { code: "COMMAND_NOT_FOUND" });
  assert.deepEqual(mcp.command_not_found("localhost:3001/mcp"), {
    code: "COMMAND_NOT_FOUND",
    message: 'Cannot start "localhost:3001/mcp": no such program on PATH',
    hint: "for a server over HTTP, write http://localhost:3001/mcp",
  });
});

Deno.test("Session.open() greets in the old way when the server ends at an unknown request", async () => {
  await using session = await open(["--strict"]);
  assert.deepEqual(session.description, {
    name: "it",
    transport: "stdio",
    protocol: "2025-06-18",
    implementation: { name: "hone-test-server", version: "1.0.0" },
  });
});

Deno.test("Session.open() overlooks prose on stdout", async () => {
  await using session = await open(["--noise"]);
  assert.equal((await session.call("fail", {}, LIMITS)).outcome, "tool_error");
});

Deno.test("Session.list() reads every page", async () => {
  await using session = await open();
  const tools = await session.list("tools", LIMITS) as RawTool[];
  assert.deepEqual([tools[0]!.name, tools.at(-1)!.name], ["append", "dotted.name/tool"]);
  assert(tools.length > 14);
});

Deno.test("Session.call() tells the two faces of failure apart", async () => {
  await using session = await open();
  const failed = await session.call("fail", {}, LIMITS);
  assert.deepEqual([failed.outcome, failed.text], ["tool_error", "this did not work"]);
  const unknown = await session.call("nope", {}, LIMITS);
  assert.equal(unknown.outcome, "protocol_error");
  assert.deepEqual(unknown.result, { error: { code: -32602, message: "Tool nope not found" } });
  const malformed = await session.call("malformed", {}, LIMITS);
  assert.deepEqual([malformed.outcome, session.broken], ["protocol_error", false]);
});

Deno.test("Session.call() times out, and works after that", async () => {
  await using session = await open();
  const late = await session.call("sleep", { ms: 60_000 }, { timeout_secs: 0.3 });
  assert.deepEqual([late.outcome, late.text], ["timeout", "The tool did not answer within 0.3 s."]);
  assert.equal((await session.call("notes", {}, LIMITS)).text, "[]");
});

Deno.test("Session.call() waits for a tool that reports progress", async () => {
  await using session = await open();
  const result = await session.call("progress", { ms: 500, steps: 4 }, { timeout_secs: 1.5 });
  assert.deepEqual([result.outcome, result.text], ["ok", "done"]);
});

Deno.test("Session.call() is cancelled by its signal", async () => {
  await using session = await open();
  const stop = new AbortController();
  const call = session.call("sleep", { ms: 60_000 }, { ...LIMITS, signal: stop.signal });
  stop.abort();
  assert.equal((await call).outcome, "cancelled");
});

Deno.test("Session.call() says how the server died and shows its stderr", async () => {
  await using session = await open();
  const other = session.call("sleep", { ms: 60_000 }, LIMITS);
  const died = await session.call("crash", {}, LIMITS);
  assert.deepEqual([died.outcome, died.text], ["server_died", "The server exited with code 7."]);
  assert.deepEqual(died.result, { error: { code: "server_died", message: died.text, stderr: "cannot go on" } });
  assert.equal((await other).outcome, "server_died");
  assert.equal((await session.call("notes", {}, LIMITS)).outcome, "server_died");
});

Deno.test("Session.call() ends a server that floods or nests too deep", async () => {
  for (const [tool, args] of [["flood", {}], ["deep", { levels: 50_000 }]] as const) {
    await using session = await open();
    const result = await session.call(tool, args, LIMITS);
    assert.equal(result.outcome, "server_died");
    assert.match(
      result.text,
      /^The server sent (a message of more than 2000000 bytes|JSON nested more than 1000 deep)\.$/,
    );
  }
});

Deno.test("Session.call() returns large results whole", async () => {
  await using session = await open([], 20, 20_000_000);
  const result = await session.call("big", { bytes: 8_000_000 }, LIMITS);
  assert.deepEqual([result.outcome, result.text.length], ["ok", 8_000_000]);
});

Deno.test("Session.call() replaces invalid UTF-8", async () => {
  await using session = await open();
  assert.equal((await session.call("invalid_utf8", {}, LIMITS)).text, "a\uFFFDb");
});

Deno.test("Session.call() names images in the text and keeps them in the result", async () => {
  await using session = await open();
  const { text, result } = await session.call("image", {}, LIMITS);
  assert.equal(text, "a dot\n[image: image/png, 3 bytes]");
  assert.deepEqual((result as { content: unknown[] }).content[1], {
    type: "image",
    mimeType: "image/png",
    data: "AAAA",
  });
});

Deno.test("Session declines elicitation, or accepts it with its defaults when it is told to", async () => {
  await using session = await open();
  assert.equal((await session.call("ask", {}, LIMITS)).text, '{"action":"decline"}');
  await using accepting = await open([], 20, 2_000_000, { elicitation: "accept" });
  const { text } = await accepting.call("ask", {}, LIMITS);
  assert.equal(text, '{"action":"accept","content":{"name":"nobody"}}');
});

Deno.test("Session refuses sampling, or answers it with a text when it is told to", async () => {
  await using session = await open();
  const refused = await session.call("sample", {}, LIMITS);
  assert.deepEqual([refused.outcome, refused.text], ["ok", '{"code":-32601,"message":"Method not found"}']);
  const asked: string[] = [];
  const on_asked = (method: string, answer: string) => asked.push(`${method}: ${answer}`);
  await using sampling = await open([], 20, 2_000_000, { sampling: { text: "Wait." }, on_asked });
  assert.deepEqual(JSON.parse((await sampling.call("sample", {}, LIMITS)).text), {
    role: "assistant",
    model: "hone",
    content: { type: "text", text: "Wait." },
    stopReason: "endTurn",
  });
  assert.deepEqual(asked, ["sampling/createMessage: a fixed text"]);
});

Deno.test("Session speaks revision 2026-07-28 over stdio, and again without a probe", async () => {
  const dir = await Deno.makeTempDir({ prefix: "hone-session-" });
  const env = childEnv({}, { home: dir, tmp: dir });
  const args = ["run", "-A", `--config=${new URL("../../../deno.json", import.meta.url).pathname}`, MODERN];
  const endpoint = { kind: "stdio", spec: { command: "deno", args, env, cwd: dir }, max_message_bytes: 1e6 } as const;
  const first = await Session.open("it", endpoint, { start_timeout_secs: 20 });
  const second = await Session.open("it", endpoint, { start_timeout_secs: 20, prior: first.prior });
  for (const session of [first, second]) {
    assert.equal(session.description.protocol, "2026-07-28");
    assert.equal((await session.call("double", { n: 4 }, LIMITS)).text, "8");
    await session.close();
  }
  await Deno.remove(dir, { recursive: true });
});
