/**
 * A server that says all that it was given, wherever a server can say something and in every encoding: none of it is in
 * the run's records, log, tape, reports or verdict, nor in what the commands print.
 */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { openRun } from "../../pipeline/store/live_run.ts";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { shutDown } from "../../pipeline/common/shut_down.ts";
import { folder, ROOT } from "../runs/hone_process.ts";

const SERVER = join(ROOT, "tests/fixtures/echoing_server.ts");

/** What is secret, by where it comes from. Unlike names of secrets, these names say nothing. */
const SECRETS = {
  REFERENCE: 'correct horse/battery+stäple"1',
  ARGUMENT: "argument~4d2f9a?b=c&d",
  WORD: "onlylettersandnothingelse",
  HEADER: "header-7c1e0b2f5a",
  PASSWORD: "p4ss/w0rd:with@signs",
  REFERENCE_2: "token/of:some-length9",
  IN_PATH: "s3gm3nt0123456789abcdef",
  PARAMETER: "parameter-8f14e45f",
  LITERAL: "literal value, 17 of them",
  MULTILINE: "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\nAASCBKcwggSjAgEAAoIBAQC7VJTU\n-----END KEY-----",
};

/** Forms of which none may be found; Base64 at its three positions, without the digits shared with neighbours. */
function formsOf(secret: string): string[] {
  const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const positions = ["", "x", "xx"].map((before) => {
    const start = [0, 2, 3][before.length]!;
    return base64(before + secret).slice(start, start + 16);
  });
  const percent = encodeURIComponent(secret);
  const lower = percent.replace(/%../g, (code) => code.toLowerCase());
  return [secret, JSON.stringify(secret).slice(1, -1), percent, lower, ...positions];
}

function found(where: string, text: string): string[] {
  return Object.entries(SECRETS).flatMap(([name, secret]) =>
    secret.split("\n").flatMap((line) =>
      formsOf(line).filter((form) => text.includes(form)).map((form) => `${name} in ${where}: ${form}`)
    )
  );
}

/** What the agent calls, by scenario. */
const CALLS: Record<string, string[]> = { lasts: ["echo", "fail", "refuse", "write"], dies: ["echo", "die"] };

/** A pipeline whose agent calls every tool, and whose judge reads the file that one of them writes. */
function pipeline(endpoint: string, address: string) {
  const checks = [{ file: "environment.txt", contains: "env" }];
  return {
    name: "secrets",
    agent: {
      endpoint: { base_url: endpoint, model: "scripted", headers: { "X-Account": "${HONE_T_HEADER}" } },
      tool_format: "llama_json",
      max_turns: 8,
    },
    servers: {
      it: {
        command: "deno",
        args: ["run", "-A", "--no-config", SERVER, "${workdir}", "--key=${HONE_T_ARGUMENT}"],
        env: {
          FIRST: "${HONE_T_REFERENCE}",
          SECOND: "${HONE_T_WORD}",
          THIRD: SECRETS.LITERAL,
          FOURTH: "${HONE_T_MULTILINE}",
          STORE: address,
        },
      },
    },
    stages: [
      { use: "discoverer/mcp" },
      { use: "scenario-source/file", with: { path: "./tasks.yaml" } },
      { use: "rollout/chat" },
      { use: "judge/state" },
      { use: "reward-shaper/weighted" },
    ],
    evaluate: { policies: ["base"] },
    tape: { mode: "record", path: "./tape.jsonl" },
    tasks: Object.keys(CALLS).map((id) => ({ id, split: "heldout", task: `Go ${id}.`, checks })),
  };
}

async function hone(cwd: string, ...words: string[]): Promise<string> {
  const env = Object.fromEntries(Object.entries(SECRETS).map(([name, value]) => [`HONE_T_${name}`, value]));
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", join(ROOT, "mod.ts"), ...words],
    cwd,
    env: { ...env, NO_COLOR: "1", HONE_CACHE_DIR: join(cwd, "cache") },
    stdin: "null",
  }).output();
  const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert(code === 0 || words[0] !== "run", said);
  return said;
}

/** Every file below a folder, but for the rollouts' own. */
async function filesBelow(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
}

Deno.test("what a server was given is in no record, whatever it says and however it encodes it", async () => {
  await using dir = await folder();
  await using endpoint = scriptedEndpoint(({ messages }) => {
    const turn = messages.filter(({ role }) => role === "assistant").length;
    // The model repeats what it read, and so asks with it; its endpoint repeats what it was sent.
    const name = CALLS[/Go (\w+)/.exec(JSON.stringify(messages))![1]!]![turn];
    return name
      ? JSON.stringify({ name, arguments: { q: messages.at(-1)!.content.slice(0, 2000) } })
      : [SECRETS.HEADER, btoa(SECRETS.HEADER), btoa(`xx${SECRETS.HEADER}`)].join(" ");
  });
  const address = `postgres://reader:${encodeURIComponent(SECRETS.PASSWORD)}@db.example.com/notes`;
  const { tasks, ...whole } = pipeline(endpoint.policy.base_url, address);
  await Deno.writeTextFile(join(dir.path, "my.yaml"), JSON.stringify(whole));
  await Deno.writeTextFile(join(dir.path, "tasks.yaml"), JSON.stringify(tasks));

  const said = await hone(dir.path, "run", "my.yaml", "--run-dir", "run", "--yes");
  // The programs that are to be approved are shown with what the file itself says of their environment.
  const approval = /^.* starts these programs on this machine:\n(?: {2}.*\n)*/m;
  assert.match(said, approval);
  const leaks = found("output", said.replace(approval, ""));

  await using run = await openRun(join(dir.path, "run"));
  for (const { name } of await run.query("SELECT table_name AS name FROM information_schema.tables")) {
    leaks.push(...found(`table ${name}`, JSON.stringify(await run.query(`FROM ${name}`))));
  }
  const outcomes = await run.query("SELECT tool || ' ' || outcome AS call FROM tool_calls ORDER BY call");
  assert.deepEqual(outcomes.map(({ call }) => call), [
    "die server_died",
    "echo ok",
    "echo ok",
    "fail tool_error",
    "refuse protocol_error",
    "write ok",
  ]);
  const own = ["my.yaml", "pipeline.yaml"];
  for (const file of await filesBelow(dir.path)) {
    if (own.some((name) => file.endsWith(name)) || file.includes("/cache/consent/")) continue;
    // Pages of a database hold text as it is.
    leaks.push(...found(file.slice(dir.path.length), await readFile(file, "utf8")));
  }
  leaks.push(...found("what the model read", JSON.stringify(endpoint.requests)));
  assert.deepEqual(leaks, []);
  const [observed] = await run.query("SELECT observation FROM observations");
  assert.match(String(observed!.observation), /environment\.txt.*\[redacted\]/s, "the attack reached the file");
});

/** A server over HTTP that answers every request with the request's own headers and address. */
function mirror() {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    if (request.method !== "POST") return new Response(null, { status: 405 });
    const { id, method } = await request.json();
    if (id === undefined) return new Response(null, { status: 202 });
    const heard = JSON.stringify([request.url, ...request.headers]);
    const [basic = ""] = /[\w+/=]{20,}$/.exec(request.headers.get("authorization") ?? "") ?? [];
    const text = [heard, encodeURIComponent(heard), btoa(heard), basic && atob(basic)].join("\n");
    const results: Record<string, object> = {
      initialize: {
        protocolVersion: "2025-06-18",
        capabilities: { tools: {} },
        serverInfo: { name: "mirror", version: heard },
        instructions: text,
      },
      "tools/list": { tools: [{ name: "look", description: text, inputSchema: { type: "object" } }] },
      "tools/call": { content: [{ type: "text", text }], structuredContent: { text, heard } },
    };
    const result = results[method];
    return Response.json({ jsonrpc: "2.0", id, ...(result ? { result } : { error: { code: -32601, message: text } }) });
  });
  return { port: server.addr.port, [Symbol.asyncDispose]: () => shutDown(server) };
}

Deno.test("headers, and the user and keys of an address, are in nothing that discover and call print or write", async () => {
  await using dir = await folder();
  await using server = mirror();
  const config = (entry: object) =>
    Deno.writeTextFile(join(dir.path, "mcp.json"), JSON.stringify({ mcpServers: { it: entry } }));
  const path = `127.0.0.1:${server.port}/mcp/${SECRETS.IN_PATH}?api_key=${SECRETS.PARAMETER}`;
  const entries = [
    {
      url: `http://${path}`,
      headers: { "X-Account": "${HONE_T_HEADER}", Authorization: `Token ${SECRETS.REFERENCE_2}` },
    },
    { url: `http://${path}`, headers: { Authorization: `Basic ${btoa(`reader:${SECRETS.PASSWORD}`)}` } },
    { url: `http://${path}`, headers: { Cookie: `session=${SECRETS.HEADER}; theme=dark` } },
    { url: `http://${encodeURIComponent(SECRETS.HEADER)}:${encodeURIComponent(SECRETS.PASSWORD)}@${path}` },
  ];
  const leaks: string[] = [];
  for (const entry of entries) {
    await config(entry);
    for (const words of [["discover", "--out", "catalog.json"], ["call", "--tool", "look"]]) {
      const said = await hone(dir.path, ...words, "--config", "mcp.json", "--format", "json");
      leaks.push(...found(words[0]!, said));
      if (!("headers" in entry)) continue;
      assert.match(said, /\[redacted\]/, `the attack reached ${words[0]}: ${said}`);
      leaks.push(...found("catalog", await readFile(join(dir.path, "catalog.json"), "utf8")));
    }
  }
  assert.deepEqual(leaks, []);
});
