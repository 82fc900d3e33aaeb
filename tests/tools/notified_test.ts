/** A server that changes its tools while it runs, and one that asks for roots. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import type { ToolsChange } from "../../pipeline/mcp/pool/server_table.ts";
import { runVerb } from "../fixtures/small_run.ts";
import run from "../../runners/verbs/run.ts";
import { openPool, scenario, serverConfig } from "../fixtures/test_pool.ts";
import { folder } from "../runs/hone_process.ts";
import { changingServer, writePipeline, writeTools } from "./changing_runs.ts";

const tool = (name: string, type = "string") => ({
  name,
  description: `Does ${name}.`,
  inputSchema: { type: "object", properties: { text: { type } } },
});
const REWRITE = { name: "rewrite", inputSchema: { type: "object" } };
const AFTER = [REWRITE, tool("say", "number"), tool("sing")];
const CHANGES = [
  "tool it/drop is gone",
  'tool it/say: argument text: type is "number", was "string"',
  "tool it/sing is new",
];

for (const flags of [[], ["--modern"]]) {
  Deno.test(`a pool tells once how a server's tools changed; what rollouts are offered stays ${flags}`, async () => {
    await using home = await folder();
    const file = join(home.path, "tools.json");
    await writeTools(file, [REWRITE, tool("say"), tool("drop")]);
    const told: [string, ToolsChange][] = [];
    let tell = () => {};
    const on_tools_changed = (server: string, change: ToolsChange) => {
      told.push([server, change]);
      tell();
    };
    const servers = { it: serverConfig(changingServer(file, ...flags)) };
    await using it = await openPool(servers, { on_tools_changed });
    const signal = new AbortController().signal;
    const lease = (rollout_id: string) =>
      it.pool.lease({ rollout_id, scenario: scenario(), catalog: it.catalog, signal });
    const [one, two] = [await lease("one"), await lease("two")];
    for (const environment of [one, two]) {
      const heard = new Promise<void>((resolve) => tell = resolve);
      assert.equal((await environment.call("rewrite", { tools: AFTER })).outcome, "ok");
      if (environment === one) await heard;
    }
    assert.equal((await one.call("say", { text: "still a text" })).text, '{"text":"still a text"}');
    assert.equal((await one.call("sing", {})).outcome, "unknown_tool");
    assert.deepEqual(one.tools.map(({ name }) => name), ["rewrite", "say", "drop"]);
    assert.deepEqual(told.map(([server, { changes }]) => [server, changes]), [["it", CHANGES]]);
    assert.match(told[0]![1].schema_hash, /^[0-9a-f]{64}$/);
    await Promise.all([one.release(), two.release()]);
  });
}

Deno.test("a run records how a server's tools changed while it was under way", async () => {
  await using home = await folder();
  const file = join(home.path, "tools.json");
  await writeTools(file, [REWRITE, tool("say"), tool("drop")]);
  const call = {
    id: "c",
    type: "function",
    function: { name: "rewrite", arguments: JSON.stringify({ tools: AFTER }) },
  };
  await using endpoint = scriptedEndpoint(({ messages }) =>
    messages.some(({ role }) => role === "tool") ? "hello" : { message: { tool_calls: [call] } }
  );
  const pipeline = await writePipeline(home.path, {
    base_url: endpoint.policy.base_url,
    server: changingServer(file),
    scenarios: [{ id: "one", task: "Say hello." }, { id: "two", task: "Say hello again." }],
  });
  const run_dir = join(home.path, "run");
  assert.equal((await runVerb(run, { positional: [pipeline], args: { run_dir, yes: true } })).code, 0);
  await using records = await openRun(run_dir);
  const rows = await records.query("SELECT payload FROM events WHERE type = 'catalog.changed'");
  assert.deepEqual(rows.map(({ payload }) => JSON.parse(String(payload)).changes), [CHANGES]);
  const log = await Deno.readTextFile(join(run_dir, "run.log"));
  const lines = log.split("\n").map((line) => line.slice(31));
  const at = lines.indexOf(
    'Server "it" changed its tools during the run; the run continues to offer the original ones:',
  );
  assert.deepEqual(lines.slice(at + 1, at + 4), CHANGES.map((line) => `  ${line}`), log);
  const verdict = JSON.parse(await Deno.readTextFile(join(run_dir, "verdict.json")));
  assert.equal(
    verdict.notes.at(-1),
    `A server changed its tools during the run, which continued to offer the original ones: ${CHANGES.join("; ")}.`,
  );
  assert.deepEqual(endpoint.requests.at(-1)!.tools!.length, 3);
});

Deno.test("roots/list is answered with the rollout's own folder, and only where that is the server's", async () => {
  await using home = await folder();
  const file = join(home.path, "tools.json");
  await writeTools(file, [{ name: "roots", inputSchema: { type: "object" } }]);
  const plain = changingServer(file);
  const servers = {
    named: serverConfig({ ...plain, env: { FOLDER: "${workdir}" } }),
    asked: serverConfig({ ...plain, roots: true }),
    other: serverConfig({ ...plain, env: { FOLDER: "${workdir}" }, roots: false }),
    unnamed: serverConfig(plain),
  };
  await using it = await openPool(servers);
  const signal = new AbortController().signal;
  const lease = (id: string) => it.pool.lease({ rollout_id: id, scenario: scenario(), catalog: it.catalog, signal });
  for (const environment of [await lease("one"), await lease("two")]) {
    const roots = async (server: string) => {
      const { outcome, text } = await environment.observe({ server, tool: "roots", arguments: {} });
      return outcome === "ok" ? JSON.parse(text) : outcome;
    };
    const own = [{ uri: pathToFileURL(environment.workdir!).href, name: "workdir" }];
    assert.deepEqual(await roots("named"), own);
    assert.deepEqual(await roots("asked"), own);
    assert.equal(await roots("other"), "protocol_error");
    assert.equal(await roots("unnamed"), "protocol_error");
  }
});
