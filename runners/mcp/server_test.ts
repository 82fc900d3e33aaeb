import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { TEST_SERVER } from "../../tests/fixtures/test_pool.ts";
import { VERBS } from "../verbs/mod.ts";
import { liveRun } from "../../tests/fixtures/small_run.ts";

const MOD = fileURLToPath(new URL("../../mod.ts", import.meta.url));
const SCRIPTED = fileURLToPath(new URL("../../tests/fixtures/scripted/pipeline.yaml", import.meta.url));

/** A client of `hone --mcp`, a real process, in a folder of its own. */
async function connected(flags: string[], work: (client: Client, dir: string) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  const client = new Client({ name: "test", version: "1.0.0" });
  const args = ["run", "-A", MOD, "--mcp", ...flags];
  const env = { ...Deno.env.toObject(), HONE_CACHE_DIR: join(dir, "cache") };
  try {
    await client.connect(new StdioClientTransport({ command: Deno.execPath(), args, cwd: dir, env, stderr: "ignore" }));
    await work(client, dir);
  } finally {
    await client.close();
    await Deno.remove(dir, { recursive: true });
  }
}

async function called(client: Client, name: string, args: Record<string, unknown> = {}) {
  const { content, structuredContent, isError } = await client.callTool({ name, arguments: args });
  const text = (content as { text: string }[]).map((part) => part.text).join("\n");
  return { text, data: structuredContent as Record<string, unknown> | undefined, failed: isError === true };
}

Deno.test("serve() offers only tools that read, or write reports anew, when --allow-run is not given", () =>
  connected([], async (client) => {
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map(({ name }) => name), [
      ...["validate", "graph", "list", "runs", "query", "report", "doctor", "status"],
    ]);
    const writing = tools.filter(({ annotations }) => annotations?.readOnlyHint !== true);
    assert.deepEqual(writing.map(({ name, annotations }) => [name, annotations]), [
      ["report", { readOnlyHint: false, destructiveHint: false, openWorldHint: false, idempotentHint: true }],
    ]);
    const query = tools.find(({ name }) => name === "query")!;
    assert.deepEqual(query.inputSchema.required, ["run", "sql"]);
    assert.deepEqual(Object.keys(query.inputSchema.properties!), [
      "run",
      "sql",
      "value",
      "max_rows",
      "max_result_rows",
      "max_result_mb",
      "timeout_secs",
      "width",
    ]);
    assert.ok(!Object.hasOwn(tools.find(({ name }) => name === "report")!.inputSchema.properties!, "open"));
  }));

Deno.test("serve() makes a tool of every verb that is not for a terminal, annotated by what the verb does", () =>
  connected(["--allow-run"], async (client) => {
    const { tools } = await client.listTools();
    const verbs = await Promise.all(VERBS.map(async ({ load }) => (await load()).default));
    const offered = verbs.filter(({ terminal_only }) => !terminal_only);
    assert.deepEqual(tools.map(({ name }) => name), [...offered.map(({ name }) => name.replace(" ", "_")), "status"]);
    assert.deepEqual(verbs.flatMap(({ name, terminal_only }) => terminal_only ? [name] : []), [
      "login",
      "watch",
      "completion",
    ]);
    const hints = {
      reads: { readOnlyHint: true, openWorldHint: false, idempotentHint: true },
      acts: { readOnlyHint: false, openWorldHint: false, idempotentHint: true },
      runs: { readOnlyHint: false, openWorldHint: true, idempotentHint: false },
    };
    for (const [i, { name, effect, harmless }] of offered.entries()) {
      assert.deepEqual(tools[i]!.annotations, { ...hints[effect], ...(harmless && { destructiveHint: false }) }, name);
    }
    const terminal_only = ["open", "yes", "verbose", "run_dir"];
    const fields = tools.flatMap(({ inputSchema }) => Object.keys(inputSchema.properties ?? {}));
    assert.deepEqual(fields.filter((field) => terminal_only.includes(field)), []);
  }));

Deno.test("a tool answers with its verb's value as text and as structured content, and beside it what the verb noted", () =>
  connected(["--allow-run"], async (client, dir) => {
    const server = ["deno", "run", "-A", TEST_SERVER];
    const good = await called(client, "call", { server, tool: "append", input: '{"text": "x"}' });
    assert.deepEqual([good.failed, good.data?.outcome, good.data?.text], [false, "ok", '["x"]']);
    assert.deepEqual(JSON.parse(good.text), good.data);
    const bad = await called(client, "call", { server, tool: "fail" });
    assert.deepEqual([bad.failed, bad.data?.outcome], [true, "tool_error"]);
    const found = await called(client, "discover", { server });
    assert.deepEqual([found.failed, (found.data!.servers as { name: string }[])[0]!.name], [false, "mcp_server"]);
    await called(client, "new", { kind: "judge", name: "tone", dir });
    const { content } = await client.callTool({ name: "new", arguments: { kind: "judge", name: "other", dir } });
    assert.equal((content as { text: string }[])[1]!.text, "deno.json already exists and was not changed");
    const { data } = await called(client, "runs");
    assert.deepEqual(data, { result: [] });
  }));

Deno.test("serve() without --allow-run loads no code that a pipeline or a caller names", () =>
  connected([], async (client, dir) => {
    const loud = `Deno.writeTextFileSync(${JSON.stringify(join(dir, "loaded"))}, ""); export default {};`;
    await Deno.writeTextFile(join(dir, "loud.ts"), loud);
    await Deno.writeTextFile(join(dir, "p.yaml"), "name: p\nsede: 1\nstages: [{ use: ./loud.ts }]\n");
    const checked = await called(client, "validate", { files: [join(dir, "p.yaml")] });
    assert.deepEqual([checked.failed, checked.data?.ok], [false, false]);
    assert.match(checked.text, /UNKNOWN_FIELD/);
    const { tools } = await client.listTools();
    assert.ok(tools.find(({ name }) => name === "validate")!.description!.endsWith(
      " This server checks only the text: custom plugins are not loaded, paths and environment variables not looked up.",
    ));
    const listed = await called(client, "list", { plugin: join(dir, "loud.ts") });
    assert.equal(listed.failed, true);
    assert.ok(listed.text.startsWith(`error[PLUGIN_NOT_ALLOWED] Cannot show plugin "${dir}/loud.ts"`), listed.text);
    await assert.rejects(Deno.stat(join(dir, "loaded")));
    const builtin = await called(client, "list", { plugin: "judge/state" });
    assert.equal(builtin.data?.kind, "judge");
  }));

Deno.test("status, query and the run's resource answer while a run lives and after it", () =>
  connected([], async (client, dir) => {
    await Deno.mkdir(join(dir, "runs"));
    const { bus, end } = await liveRun(join(dir, "runs"), "files-1");
    await bus.publish("trainer", "metric.recorded", { name: "loss", value: 0.5, step: 1 });
    const live = (await called(client, "status")).data;
    assert.deepEqual([live?.status, live?.progress], ["running", { rung: "rl" }]);
    const rows = await called(client, "query", { run: "files-1", sql: "SELECT value FROM metrics" });
    assert.equal(rows.text, '[{"value":0.5}]');
    await end("paused");
    assert.deepEqual((await called(client, "status")).data?.status, "paused");
    const { resources } = await client.listResources();
    assert.deepEqual(resources.map(({ uri }) => uri), ["hone://runs/files-1/status"]);
    const { contents } = await client.readResource({ uri: resources[0]!.uri });
    assert.equal(JSON.parse((contents[0] as { text: string }).text).status, "paused");
    await assert.rejects(client.readResource({ uri: "hone://runs/files-1/control.json" }), /no resource at/);
    await assert.rejects(client.readResource({ uri: "hone://runs/..%2Fruns%2Ffiles-1/run.log" }), /no resource at/);
    const wrong = await called(client, "query", { run: "files-9", sql: "SELECT 1" });
    assert.equal(wrong.failed, true);
    assert.match(wrong.text, /^error\[NO_SUCH_RUN\] /);
  }));

Deno.test("run with --allow-run returns a run id at once, and the run ends with its verdict", () =>
  connected(["--allow-run"], async (client, dir) => {
    const refused = await called(client, "run", { pipeline: join(dir, "absent.yaml") });
    assert.equal(refused.failed, true);
    assert.match(refused.text, /FILE_NOT_FOUND/);
    const started = await called(client, "run", {
      pipeline: SCRIPTED,
      set: ["ladder=[prompt]", "evaluate.policies=[base]"],
    });
    assert.equal(started.failed, false, started.text);
    assert.match(String(started.data?.run), /^scripted-\d{8}-\d{6}-[0-9a-f]{4}$/);
    let now: Record<string, unknown> | undefined;
    do {
      await sleep(200);
      now = (await called(client, "status", { run: started.data!.run })).data;
    } while (now?.status === undefined || now.status === "running");
    assert.equal(now.status, "completed", JSON.stringify(now));
    assert.match(String((now.verdict as { sentence: string }).sentence), /\S/);
  }));

Deno.test("serve() refuses a flag that it does not know and suggests the nearest", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", MOD, "--mcp", "--alow-run"],
    stdin: "null",
  }).output();
  assert.equal(code, 2);
  assert.equal(
    new TextDecoder().decode(stderr),
    'error[UNKNOWN_FLAG] Unknown flag "--alow-run" of --mcp\n  hint: did you mean --allow-run?\n',
  );
});
