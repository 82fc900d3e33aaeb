import assert from "node:assert/strict";
import { ownEnv } from "../../../tests/fixtures/own_env.ts";
import { join } from "node:path";
import { declareServers } from "./declare.ts";
import { endpointOf } from "../session/server_endpoint.ts";

async function read(name: string, text: string, env: Record<string, string> = {}, words: string[] = []) {
  const folder = await Deno.makeTempDir({ prefix: "hone-clients-" });
  const config = join(folder, name);
  await Deno.mkdir(join(config, ".."), { recursive: true });
  await Deno.writeTextFile(config, text);
  try {
    const { servers } = await declareServers({ words, config }, env);
    return { folder, servers: servers as Record<string, Record<string, unknown>> };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("declareServers() reads a desktop client's file as it is", async () => {
  const text = `{
    "globalShortcut": "Ctrl+Space",
    "mcpServers": {
      "filesystem": { "command": "npx", "args": ["-y", "@modelcontextprotocol/server-filesystem", "/tmp"] },
      "My Notes!": { "command": "uvx", "args": ["notes"], "env": { "KEY": "\${NOTES_KEY}" }, "autoApprove": ["read"] },
      "old": { "command": "gone", "disabled": true }
    }
  }`;
  const { servers } = await read("claude_desktop_config.json", text, { NOTES_KEY: "k" });
  assert.deepEqual(Object.keys(servers), ["filesystem", "My-Notes"]);
  assert.deepEqual(servers["My-Notes"]!.env, { KEY: "k" });
  assert.deepEqual(Object.keys((await read("c.json", text, {}, ["old"])).servers), ["old"]);
});

Deno.test("declareServers() reads an editor's file with comments, inputs and its own variables", async () => {
  const text = `{
    // asked for once
    "inputs": [{ "type": "promptString", "id": "api-key", "password": true }],
    "servers": {
      "remote": { "type": "http", "url": "https://x.example/mcp", "headers": { "X-Key": "\${input:api-key}" } },
      "local": {
        "type": "stdio", /* here */ "command": "node", "args": ["\${workspaceFolder}/server.js", "//not-a-comment"],
        "env": { "TOKEN": "\${env:MY_TOKEN}" }, "dev": { "watch": "src" },
      },
    },
  }`;
  const { folder, servers } = await read(".vscode/mcp.json", text, { API_KEY: "a", MY_TOKEN: "t" });
  assert.deepEqual([servers.remote!.transport, servers.remote!.headers], ["http", { "X-Key": "a" }]);
  assert.deepEqual(servers.local!.args, [`${folder}/server.js`, "//not-a-comment"]);
  assert.deepEqual(servers.local!.env, { TOKEN: "t" });
  const unset = await read(".vscode/mcp.json", text, { MY_TOKEN: "t" }).catch((error) => error);
  assert.equal(unset.code, "ENV_NOT_SET");
  assert.match(unset.message, /API_KEY/);
});

Deno.test("declareServers() knows how other clients write addresses, transports and what is off", async () => {
  const text = JSON.stringify({
    mcpServers: {
      cursor: { url: "https://a.example/mcp", auth: { CLIENT_ID: "x", CLIENT_SECRET: "y", scopes: ["a"] } },
      windsurf: { serverUrl: "https://b.example/sse", type: "sse", disabledTools: ["x"] },
      gemini: { httpUrl: "https://c.example/mcp", timeout: 5000, trust: false },
      streaming: { type: "streamableHttp", url: "https://d.example/mcp", alwaysAllow: [] },
      off: { url: "https://e.example/mcp", enabled: false },
    },
  });
  const { servers } = await read("mcp.json", text);
  const brief = Object.entries(servers).map(([name, { url, transport, auth }]) => [name, url, transport, auth]);
  assert.deepEqual(brief, [
    ["cursor", "https://a.example/mcp", "auto", undefined],
    ["windsurf", "https://b.example/sse", "sse", undefined],
    ["gemini", "https://c.example/mcp", "http", undefined],
    ["streaming", "https://d.example/mcp", "http", undefined],
  ]);
  const zed = { context_servers: { files: { command: { path: "npx", args: ["-y", "files"], env: { A: "1" } } } } };
  const { servers: { files } } = await read("settings.json", JSON.stringify(zed));
  assert.deepEqual([files!.command, files!.args, files!.env], ["npx", ["-y", "files"], { A: "1" }]);
  const nested = { mcp: { servers: { one: { command: "one" } } } };
  assert.deepEqual(Object.keys((await read("settings.json", JSON.stringify(nested))).servers), ["one"]);
});

Deno.test("declareServers() says so when every server of a file is switched off", async () => {
  const off = JSON.stringify({ mcpServers: { a: { command: "a", disabled: true } } });
  const error = await read("mcp.json", off).catch((error) => error);
  assert.equal(error.code, "SERVERS_ALL_OFF");
  assert.match(error.message, /^Every server in ".*mcp\.json" is disabled: a$/);
  assert.equal(error.hint, "name the one to use");
});

Deno.test("declareServers() leaves the address of an entry without one to MCP_URL", async () => {
  const env = { MCP_URL: "https://given.example/mcp" };
  const { servers } = await read("pipeline.yaml", "servers:\n  it:\n  other: { read_only_tools: [a] }\n", env);
  assert.deepEqual([servers.it!.url, servers.other!.url], [env.MCP_URL, env.MCP_URL]);
});

Deno.test("endpointOf() gives MCP_BEARER_TOKEN to exactly the server that MCP_URL names", async () => {
  using _env = ownEnv({ MCP_URL: "https://given.example/mcp", MCP_BEARER_TOKEN: "a-bearer-token" });
  const headersOf = async (words: string[], headers: string[] = []) => {
    const { servers } = await declareServers({ words, headers });
    const folders = { root: "/", work: "/", home: "/", tmp: "/" };
    const endpoint = endpointOf(Object.values(servers)[0]!, { base_dir: "/", folders, max_result_bytes: 1 });
    return endpoint.kind === "url" ? endpoint.headers : null;
  };
  const given = { Authorization: "Bearer a-bearer-token" };
  assert.deepEqual(await headersOf([]), given);
  assert.deepEqual(await headersOf(["https://given.example/mcp"]), given);
  assert.deepEqual(await headersOf(["https://given.example/other"]), {});
  assert.deepEqual(await headersOf(["https://other.example/mcp"]), {});
  assert.deepEqual(await headersOf([], ["authorization: Bearer mine-of-my-own"]), {
    authorization: "Bearer mine-of-my-own",
  });
});
