/**
 * The reference server of MCP over stdio, streamable HTTP and SSE, through the command line: discovered, and used by a
 * scripted policy in an evaluation without a trainer.
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { scriptedEndpoint, type ScriptedReply, type ScriptedRequest } from "../fixtures/scripted_endpoint.ts";
import { startProcess } from "../../pipeline/mcp/session/process.ts";
import { killProcess } from "../../pipeline/mcp/session/process.ts";
import { folder, hone, rows } from "../runs/hone_process.ts";

const PACKAGE = "npm:@modelcontextprotocol/server-everything@2026.8.31";
const COMMAND = ["deno", "run", "-A", "--no-config", "--no-lock", "--quiet", PACKAGE];
const PIPELINE = join(import.meta.dirname!, "pipeline.yaml");
/** Longer than the pipeline's `tool_timeout_secs`, with progress all the while. */
const LONG = { duration: 6, steps: 12 };

const CALLS: [tool: string, args: Record<string, unknown>][] = [
  ["echo", { message: "grüße \u0000 🦊" }],
  ["get-sum", { a: 2, b: 3 }],
  ["trigger-long-running-operation", LONG],
  ["get-structured-content", { location: "Chicago" }],
  ["get-tiny-image", {}],
  ["get-resource-reference", { resourceType: "Text", resourceId: 1 }],
  ["get-resource-links", { count: 2 }],
  ["get-annotated-message", { messageType: "error", includeImage: true }],
  ["trigger-elicitation-request", {}],
];

/** The server over HTTP, on a port that was free a moment ago. */
async function served(mode: "streamableHttp" | "sse"): Promise<AsyncDisposable & { url: string }> {
  const probe = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = probe.addr;
  probe.close();
  const [command, ...args] = [...COMMAND, mode];
  const env = { ...Deno.env.toObject(), PORT: String(port) };
  const child = startProcess({ command: command!, args, env, cwd: Deno.cwd() });
  const url = `http://127.0.0.1:${port}/${mode === "sse" ? "sse" : "mcp"}`;
  const streams = [child.stdin.close(), child.stdout.cancel(), child.stderr.cancel()];
  for (;;) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) }).catch(() => null);
    await answer?.body?.cancel();
    if (answer) break;
    await sleep(50);
  }
  return {
    url,
    async [Symbol.asyncDispose]() {
      await killProcess(child);
      await Promise.all(streams);
    },
  };
}

const parts = (value: unknown) => typeof value === "string" ? JSON.parse(value) : value;

/** Calls every tool of the server that the task names, as OpenAI's native calls, then says what it got. */
function script({ messages, tools = [] }: ScriptedRequest): ScriptedReply {
  const [, server] = /every tool of (\w+)/.exec(messages.find(({ role }) => role === "user")!.content)!;
  const sum = messages.find(({ role, content }) => role === "tool" && content.startsWith("The sum of"));
  if (sum) return `The answer is ${/\d+\.?$/.exec(sum.content)![0]}`;
  const offered = tools.map((tool) => (tool.function as { name: string }).name);
  const tool_calls = CALLS.map(([tool, args], index) => {
    const name = offered.find((name) => name === `${server}_${tool}`);
    assert(name, `${tool} of ${server} is not among ${offered}`);
    return { id: `call_${index}`, type: "function", function: { name, arguments: JSON.stringify(args) } };
  });
  return { message: { content: null, tool_calls }, finish_reason: "tool_calls" };
}

/** What is stored of each call, the same over every transport. */
function assertStored(server: string, calls: Record<string, unknown>[]): void {
  const by_tool = new Map(calls.map((call) => [call.tool, call]));
  const text = (tool: string) => String(by_tool.get(tool)!.text);
  const result = (tool: string) => parts(by_tool.get(tool)!.result);
  assert.deepEqual([...by_tool.keys()], CALLS.map(([tool]) => tool), server);
  assert.deepEqual(calls.map(({ outcome }) => outcome), CALLS.map(() => "ok"), server);
  assert.equal(text("echo"), "Echo: grüße \u0000 🦊");
  assert.equal(text("get-sum"), "The sum of 2 and 3 is 5.");
  assert.match(text("trigger-long-running-operation"), /^Long running operation completed/);
  const { structuredContent } = result("get-structured-content");
  assert.deepEqual(Object.keys(structuredContent).sort(), ["conditions", "humidity", "temperature"]);
  const image = result("get-tiny-image").content.find(({ type }: { type: string }) => type === "image");
  assert.deepEqual([...atob(image.data).slice(1, 4)].join(""), "PNG");
  assert.match(text("get-tiny-image"), /\[image: image\/png, \d{4,} bytes\]/);
  assert.doesNotMatch(text("get-tiny-image"), new RegExp(image.data.slice(0, 40).replace(/\W/g, "\\$&")));
  assert.match(text("get-resource-reference"), /\[resource: demo:\/\/resource\/dynamic\/text\/1\]\n/);
  assert.match(text("get-resource-links"), /\[resource: demo:\/\/resource\/dynamic\/\w+\/1 /);
  const [annotated] = result("get-annotated-message").content;
  assert.deepEqual(annotated.annotations, { priority: 1, audience: ["user", "assistant"] });
  const asked = server === "stdio" ? /accept/i : /decline/i;
  assert.match(text("trigger-elicitation-request"), asked);
}

Deno.test("hone discover and hone evaluate use server-everything over stdio, HTTP and SSE", async () => {
  await using home = await folder();
  await using http = await served("streamableHttp");
  await using sse = await served("sse");
  await using endpoint = scriptedEndpoint(script);

  const config = join(home.path, "mcp.json");
  const mcpServers = {
    stdio: { command: COMMAND[0], args: COMMAND.slice(1) },
    http,
    sse: { type: "sse", url: sse.url },
  };
  await Deno.writeTextFile(config, JSON.stringify({ mcpServers }));
  const found = await hone("discover", "--config", config, "--yes", "--format", "json");
  assert.equal(found.code, 0, found.err);
  const { servers } = JSON.parse(found.out);
  const seen = servers.map(({ name, transport, protocol }: Record<string, string>) => [name, transport, protocol]);
  assert.deepEqual(seen, [["stdio", "stdio", "2025-11-25"], ["http", "http", "2025-11-25"], [
    "sse",
    "sse",
    "2025-11-25",
  ]]);
  for (const { tools, resources, prompts } of servers) {
    const names = tools.map(({ name }: { name: string }) => name);
    for (const [tool] of CALLS) assert(names.includes(tool), tool);
    assert(resources.length > 0 && prompts.length > 0 && tools.every(({ tokens }: { tokens: number }) => tokens > 0));
  }

  const run_dir = join(home.path, "run");
  const set = [
    `agent.endpoint.base_url=${endpoint.policy.base_url}`,
    `servers.http.url=${http.url}`,
    `servers.sse.url=${sse.url}`,
  ];
  const flags = ["--run-dir", run_dir, "--yes", "--format", "json", ...set.flatMap((one) => ["--set", one])];
  const measured = await hone("evaluate", PIPELINE, ...flags);
  assert.equal(measured.code, 0, measured.err);
  const { success } = JSON.parse(measured.out.trim().split("\n").at(-1)!);
  assert.deepEqual([success.mean, success.n], [1, 3], measured.err);

  const calls = await rows(
    run_dir,
    "SELECT server, tool, outcome, text, result FROM tool_calls ORDER BY server, index",
  );
  for (const server of ["stdio", "http", "sse"]) {
    assertStored(server, calls.filter((call) => call.server === server));
  }
  const [model] = await rows(
    run_dir,
    "SELECT DISTINCT tool_calls[1].name AS name FROM turns WHERE turn = 0 ORDER BY 1",
  );
  assert.ok(model);
});
