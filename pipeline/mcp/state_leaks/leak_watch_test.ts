import assert from "node:assert/strict";
import { openPool, scenario, serverConfig, TEST_SERVER, testServer } from "../../../tests/fixtures/test_pool.ts";
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import type { JsonObject } from "../../events.ts";
import { FreshProbe } from "./fresh_probe.ts";

const signal = new AbortController().signal;
const POINT_IT = "; have it write below ${workdir}, with args: or env: of servers.it (for example " +
  '`env: { MEMORY_FILE_PATH: "${workdir}/memory.jsonl" }`), or use isolation: container';
const outside = (path: string) =>
  `Server "it" leaks state between rollouts: ${path}, which all of them share, changed during one${POINT_IT}`;

/** Three rollouts one after another, each of which writes; what was warned of. */
async function warnings(it: ServerConfig, write: [string, JsonObject], partial = {}): Promise<string[]> {
  const warned: string[] = [];
  const log = { debug() {}, info() {}, warn: (message: string) => void warned.push(message) };
  await using made = await openPool({ it }, { log });
  for (let rollout = 0; rollout < 3; rollout++) {
    const wanted = { rollout_id: "r", scenario: scenario(partial), catalog: made.catalog, signal };
    const one = await made.pool.lease(wanted);
    assert.equal((await one.call(...write)).outcome, "ok");
    await one.release();
  }
  await made.pool.lease({ rollout_id: "r", scenario: scenario(partial), catalog: made.catalog, signal });
  return warned;
}

async function inTempDir(run: (dir: string) => Promise<void>) {
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "hone-leak-" }));
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("a server that keeps its files where it should is not warned of", async () => {
  const checks = [{ call: { tool: "notes", arguments: {} }, contains: "x" }];
  assert.deepEqual(await warnings(testServer(), ["append", { text: "x" }], { checks }), []);
  assert.deepEqual(await warnings(testServer({ reset: "workdir" }), ["append", { text: "x" }], { checks }), []);
});

Deno.test("a server that writes beside its own package is warned of once, with the file", async () => {
  await inTempDir(async (dir) => {
    const pack = `${dir}/node_modules/notes`;
    await Deno.mkdir(`${pack}/dist`, { recursive: true });
    await Deno.writeTextFile(`${pack}/package.json`, "{}");
    await Deno.copyFile(TEST_SERVER, `${pack}/dist/index.ts`);
    const server = serverConfig({ command: "deno", args: ["run", "-A", "--no-lock", `${pack}/dist/index.ts`] });
    const state = `${pack}/memory.jsonl`;
    assert.deepEqual(await warnings(server, ["write", { path: state }]), [outside(state)]);
  });
});

Deno.test("a server that writes where its arguments or environment point is warned of", async () => {
  await inTempDir(async (dir) => {
    const by_argument = testServer({}, "--state", `${dir}/notes.json`);
    await Deno.writeTextFile(`${dir}/notes.json`, "[]");
    assert.deepEqual(await warnings(by_argument, ["append", { text: "x" }]), [outside(`${dir}/notes.json`)]);
  });
  await inTempDir(async (dir) => {
    const by_env = testServer({ env: { DATA: dir } });
    assert.deepEqual(await warnings(by_env, ["write", { path: `${dir}/x.db` }]), [outside(`${dir}/x.db`)]);
  });
});

Deno.test({
  name: "a server that holds a file open for writing is warned of",
  ignore: Deno.build.os !== "linux",
  async fn() {
    await inTempDir(async (dir) => {
      const server = testServer({}, `--hold=${dir}/store.db`);
      assert.deepEqual(await warnings(server, ["append", { text: "x" }]), [outside(`${dir}/store.db`)]);
    });
  },
});

Deno.test("a server whose fresh environments are not alike is warned of, by what its check calls answer", async () => {
  await inTempDir(async (dir) => {
    // A place that no word of the declaration names, and a file that is closed again: only the answers tell.
    const server = testServer({}, `--state=${dir}/notes.json`);
    const checks = [{ call: { tool: "notes", arguments: {} }, contains: "first" }];
    assert.deepEqual(await warnings(server, ["append", { text: "first" }], { checks }), [
      'Server "it" leaks state between rollouts: in a fresh environment notes now answers "[\\"first\\"]"; ' +
      `before other rollouts ran it answered "[]"${POINT_IT}`,
    ]);
  });
});

Deno.test("@modelcontextprotocol/server-memory is warned of as it comes, and not with a file of its own", async () => {
  await inTempDir(async (dir) => {
    const args = ["run", "-A", "--no-config", "--no-lock", "npm:@modelcontextprotocol/server-memory@2026.8.31"];
    const env = { DENO_DIR: dir };
    const entities = [{ name: "Ada", entityType: "person", observations: [] }];
    const checks = [{ call: { tool: "read_graph", arguments: {} }, contains: "Ada" }];
    const slow = { command: "deno", args, start_timeout_secs: 120 };
    const leaky = await warnings(serverConfig({ ...slow, env }), ["create_entities", { entities }], { checks });
    assert.equal(leaky.length, 2);
    assert.match(
      leaky[0]!,
      /server-memory\/2026\.8\.31\/dist\/memory\.jsonl, which all of them share, changed during one;/,
    );
    assert.match(leaky[1]!, /in a fresh environment read_graph now answers ".*Ada/);
    const own = serverConfig({ ...slow, env: { ...env, MEMORY_FILE_PATH: "${workdir}/memory.jsonl" } });
    assert.deepEqual(await warnings(own, ["create_entities", { entities }], { checks }), []);
  });
});

Deno.test("FreshProbe compares only after writes, and nothing that changes by itself", async () => {
  const probe = new FreshProbe();
  let asked = 0;
  const look = (text: () => string, tool = "list") => {
    const observe = () => Promise.resolve({ outcome: "ok" as const, text: text(), result: null, seconds: ++asked });
    const calls = [{ tool, arguments: {} }];
    return probe.look({ root: "/run/env/0001", observe }, { calls }, () => "it");
  };
  assert.deepEqual(await look(() => "made 2026-01-02T10:00:00Z in /run/env/0001/work"), []);
  assert.deepEqual([await look(() => "other"), asked], [[], 2]);
  probe.wrote("it");
  assert.deepEqual([await look(() => "made 2026-03-04T11:30:00Z in /work"), asked], [[], 3]);
  let spins = 0;
  const random = () => ["heads", "tails"][spins++ % 2]!;
  assert.deepEqual(await look(random, "toss"), []);
  probe.wrote("it");
  assert.deepEqual([await look(random, "toss"), asked], [[], 5]);
  assert.deepEqual(await look(() => "made by another"), [
    { server: "it", tool: "list", before: "made 2026-03-04T11:30:00Z in /work", now: "made by another" },
  ]);
});
