import assert from "node:assert/strict";
import { TEST_SERVER } from "../../tests/fixtures/test_pool.ts";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { declareServers } from "../../pipeline/mcp/declared/declare.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import call from "./call.ts";
import discover from "./discover.ts";
import type { Verb } from "./verb.ts";

const COMMAND = ["deno", "run", "-A", TEST_SERVER];

async function run(verb: Verb, args: Record<string, unknown>, positional: string[], format = "json") {
  const { code, out, err } = await runVerb(verb, { args, positional, format });
  return { code, said: out.join("\n"), told: err.join("\n") };
}

async function withFile(content: unknown, use: (path: string) => Promise<void>) {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(path, JSON.stringify(content));
  try {
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("hone discover prints a server's tools and risks when it is given a command", async () => {
  const { code, said } = await run(discover, {}, COMMAND);
  const { servers: [server] } = JSON.parse(said);
  assert.deepEqual([code, server.name, server.transport, server.protocol], [0, "mcp_server", "stdio", "2025-06-18"]);
  const dotted = server.tools.find((tool: { name: string }) => tool.name === "dotted.name/tool");
  assert.equal(dotted.model_name, "dotted_name_tool");
  assert(dotted.tokens > 0);
  assert.deepEqual(server.resources.map((resource: { uri: string }) => resource.uri), ["test://one"]);
  assert(server.risks.includes("dotted.name/tool: models see it as dotted_name_tool"));
  assert(server.risks.some((risk: string) => risk.startsWith("notes: its input schema cannot be used")));
});

Deno.test("hone discover reads a client's file, writes the catalog, and shows the servers that fail", async () => {
  const mcpServers = {
    good: { type: "stdio", command: COMMAND[0], args: COMMAND.slice(1), disabled: false },
    bad: { command: "no-such-program" },
  };
  await withFile({ mcpServers }, async (config) => {
    const out = `${config}.catalog`;
    const { code, said, told } = await run(discover, { config, out, yes: true }, [], "text");
    assert.equal(code, 1);
    assert.match(
      said,
      /^good: hone-test-server 1\.0\.0 over stdio, revision 2025-06-18\n\d+ tools, about \d+ tokens \(\d+ compact\)\n/,
    );
    assert.match(told, /Cannot start "no-such-program"/);
    const catalog = JSON.parse(await Deno.readTextFile(out));
    assert.deepEqual(catalog.servers.map((server: { name: string }) => server.name), ["good"]);
    await Deno.remove(out);
    const one = await run(discover, { config, yes: true }, ["good"]);
    assert.deepEqual([one.code, JSON.parse(one.said).servers.length], [0, 1]);
    await assert.rejects(run(discover, { config, yes: true }, ["goof"]), {
      code: "UNKNOWN_SERVER",
      hint: 'did you mean "good"?',
    });
  });
});

Deno.test("hone call prints what a trajectory would record", async () => {
  const good = await run(call, { tool: "append", input: '{"text": "x"}' }, COMMAND);
  const record = JSON.parse(good.said);
  assert.equal(good.code, 0);
  assert.deepEqual([record.server, record.tool, record.outcome, record.text], ["mcp_server", "append", "ok", '["x"]']);
  assert.deepEqual(record.result, { content: [{ type: "text", text: '["x"]' }] });
  const failed = await run(call, { tool: "fail" }, COMMAND, "text");
  assert.deepEqual([failed.code, failed.said], [1, "this did not work"]);
  await assert.rejects(run(call, { tool: "apend" }, COMMAND), { code: "UNKNOWN_TOOL", hint: 'did you mean "append"?' });
  await assert.rejects(run(call, { tool: "fail", input: "[1]" }, COMMAND), { code: "BAD_INPUT" });
});

Deno.test("declareServers() reads commands, URLs, files and the environment", async () => {
  const names = async (...words: string[]) => Object.keys((await declareServers({ words }, {})).servers);
  assert.deepEqual(await names("npx", "-y", "@modelcontextprotocol/server-files@1.2.3", "/tmp"), ["server-files"]);
  assert.deepEqual(await names("deno", "run", "-A", "npm:@scope/thing"), ["thing"]);
  assert.deepEqual(await names("./servers/my server.py"), ["my-server"]);
  assert.deepEqual(await names("env", "KEY=x", "uvx", "mcp-server-time"), ["mcp-server-time"]);
  const from_env = await declareServers({ words: [] }, { MCP_URL: "http://host.example/mcp", MCP_BEARER_TOKEN: "t" });
  const { "host-example": server } = from_env.servers;
  assert(server && "url" in server);
  assert.deepEqual([server.url, server.headers], ["http://host.example/mcp", {}]);
  for (const word of ["ftp://x/mcp", "http://"]) {
    await assert.rejects(declareServers({ words: [word] }, {}), { code: "BAD_SERVER" });
  }
  await assert.rejects(declareServers({ words: [] }, {}), { code: "NO_SERVER" });
  await assert.rejects(declareServers({ words: ["http://x"], headers: ["nonsense"] }, {}), { code: "BAD_HEADER" });
  const headers = { "x-key": "${KEY}" };
  await withFile({ servers: { remote: { type: "sse", url: "http://x/sse", headers } } }, async (config) => {
    const { servers: { remote } } = await declareServers({ words: [], config }, { KEY: "abc" });
    assert(remote && "url" in remote);
    assert.deepEqual([remote.transport, remote.headers], ["sse", { "x-key": "abc" }]);
    const unset = await declareServers({ words: [], config }, {}).catch((error) => error);
    assert(unset instanceof HoneError && unset.code === "ENV_NOT_SET");
  });
});
