import assert from "node:assert/strict";
import { openPool, scenario, silent, testServer } from "../../../tests/fixtures/test_pool.ts";
import type { Catalog, JsonObject } from "../../events.ts";
import type { CallResult } from "../../plugin.ts";
import type { EnvironmentPool, Lease } from "./pool.ts";

const forever = new AbortController().signal;
const json = (result: CallResult) => JSON.parse(result.text);

function lease(pool: EnvironmentPool, catalog: Catalog, partial = {}): Promise<Lease> {
  return pool.lease({ rollout_id: "r", scenario: scenario(partial), catalog, signal: forever });
}

Deno.test("EnvironmentPool offers only the scenario's tools", async () => {
  await using made = await openPool({ it: testServer() });
  const one = await lease(made.pool, made.catalog, { tools: ["notes", "dotted_name_tool"] });
  assert.deepEqual(one.tools.map((tool) => tool.model_name), ["notes", "dotted_name_tool"]);
  assert.equal((await one.call("append", { text: "x" })).outcome, "unknown_tool");
  assert.equal((await one.call("dotted_name_tool", {})).text, "called by its own name");
  assert.deepEqual(one.stats.outcomes, { unknown_tool: 1, ok: 1 });
});

Deno.test("EnvironmentPool gives each rollout its own folders and environment", async () => {
  Deno.env.set("HONE_TEST_SECRET", "do not pass on");
  const server = testServer({ env: { MINE: "${workdir}/db" } });
  await using made = await openPool({ it: server });
  const [one, two] = await Promise.all([lease(made.pool, made.catalog), lease(made.pool, made.catalog)]);
  const [a, b] = [json(await one.call("environment", {})), json(await two.call("environment", {}))];
  for (const name of ["cwd", "HOME", "TMPDIR"]) {
    assert.notEqual(a[name], b[name]);
    assert(a[name].startsWith(made.run_dir));
    assert.equal(a[name].length, b[name].length);
  }
  assert.equal(a.cwd, one.workdir);
  assert.equal(a.MINE, `${one.workdir}/db`);
  assert.equal(a.HONE_TEST_SECRET, undefined);
});

Deno.test("EnvironmentPool leaves nothing behind when reset is restart", async () => {
  await using made = await openPool({ it: testServer() });
  const one = await lease(made.pool, made.catalog);
  await one.call("remember", { text: "in memory" });
  await one.call("append", { text: "in the file" });
  await Deno.writeTextFile(`${json(await one.call("environment", {})).HOME}/in_home`, "x");
  await one.release();
  const two = await lease(made.pool, made.catalog);
  assert.equal(two.workdir, one.workdir);
  assert.deepEqual(json(await two.call("remember", { text: "mine" })), ["mine"]);
  assert.deepEqual(json(await two.call("notes", {})), []);
  assert.deepEqual([...Deno.readDirSync(json(await two.call("environment", {})).HOME)], []);
});

Deno.test("EnvironmentPool keeps the process and refills the folder when reset is workdir", async () => {
  const fixture = await Deno.makeTempDir();
  await Deno.mkdir(`${fixture}/sub`);
  await Deno.writeTextFile(`${fixture}/sub/given.txt`, "given");
  await using made = await openPool({ it: testServer({ reset: "workdir", fixture }) });
  const one = await lease(made.pool, made.catalog);
  const pid = (await one.call("pid", {})).text;
  await one.call("append", { text: "x" });
  await Deno.remove(`${one.workdir}/sub`, { recursive: true });
  await one.release();
  const two = await lease(made.pool, made.catalog);
  assert.equal((await two.call("pid", {})).text, pid);
  assert.deepEqual(json(await two.call("notes", {})), []);
  assert.equal(await Deno.readTextFile(`${two.workdir}/sub/given.txt`), "given");
  await Deno.remove(fixture, { recursive: true });
});

Deno.test("EnvironmentPool restarts a process that may still be working on an unanswered call", async () => {
  await using made = await openPool({ it: testServer({ reset: "workdir", call_timeout_secs: 0.3 }) });
  const one = await lease(made.pool, made.catalog);
  const pid = (await one.call("pid", {})).text;
  assert.equal((await one.call("sleep", { ms: 60_000 })).outcome, "timeout");
  await one.release();
  const two = await lease(made.pool, made.catalog);
  assert.notEqual((await two.call("pid", {})).text, pid);
});

Deno.test("EnvironmentPool.lease() is released while a call is under way, and the next rollout is not disturbed", async () => {
  await using made = await openPool({ it: testServer({ reset: "workdir" }) });
  const one = await lease(made.pool, made.catalog);
  const call = one.call("sleep", { ms: 60_000 });
  await one.call("notes", {});
  await one.release();
  assert.equal((await call).outcome, "server_died");
  assert.equal((await one.call("notes", {})).outcome, "cancelled");
  const two = await lease(made.pool, made.catalog);
  assert.equal((await two.call("notes", {})).outcome, "ok");
});

Deno.test("EnvironmentPool keeps a crash to its own rollout", async () => {
  await using made = await openPool({ it: testServer() });
  const [one, two] = await Promise.all([lease(made.pool, made.catalog), lease(made.pool, made.catalog)]);
  await two.call("remember", { text: "kept" });
  assert.equal((await one.call("crash", {})).outcome, "server_died");
  assert.equal((await one.call("notes", {})).outcome, "server_died");
  assert.deepEqual(json(await two.call("remember", { text: "still" })), ["kept", "still"]);
  await one.release();
  const three = await lease(made.pool, made.catalog);
  assert.equal((await three.call("notes", {})).outcome, "ok");
});

Deno.test("EnvironmentPool.lease() says which setup call failed", async () => {
  await using made = await openPool({ it: testServer() });
  const setup = { calls: [{ tool: "append", arguments: { text: "before" } }, { tool: "fail", arguments: {} }] };
  await assert.rejects(lease(made.pool, made.catalog, { setup }), {
    code: "SETUP_FAILED",
    message: 'Setup call "fail" of the scenario failed (tool_error): this did not work',
  });
  await assert.rejects(lease(made.pool, made.catalog, { setup: { files: { "../x": "" } } }), {
    code: "OUTSIDE_WORKDIR",
  });
});

Deno.test("EnvironmentPool.lease() stops when its signal is aborted", async () => {
  await using made = await openPool({ it: testServer() });
  const signal = AbortSignal.abort(new Error("stopped"));
  const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal };
  await assert.rejects(made.pool.lease(wanted), { message: "stopped" });
});

Deno.test("EnvironmentPool is closed although a lease that was given up still waits for a slot", async () => {
  const made = await openPool({ it: testServer() });
  await (await lease(made.pool, made.catalog)).release();
  const stop = new AbortController();
  const wanted = { rollout_id: "late", scenario: scenario(), catalog: made.catalog, signal: stop.signal };
  const late = made.pool.lease(wanted);
  stop.abort(new Error("stopped"));
  await assert.rejects(late, { message: "stopped" });
  await made[Symbol.asyncDispose]();
});

Deno.test("EnvironmentPool calls a shared server's tools only when the user's own list says they are read-only", async () => {
  const outcomes = async (partial: JsonObject, allow_writes = false) => {
    await using made = await openPool({ it: testServer({ isolation: "shared", ...partial }) }, { allow_writes });
    const one = await lease(made.pool, made.catalog);
    assert.equal(one.workdir, null);
    const calls = await Promise.all([one.call("notes", {}), one.call("append", { text: "x" })]);
    return calls.map(({ outcome }) => outcome);
  };
  assert.deepEqual(await outcomes({}), ["denied", "denied"]);
  assert.deepEqual(await outcomes({ read_only_tools: ["notes", "append"] }), ["ok", "denied"]);
  assert.deepEqual(await outcomes({ allow_writes: true }), ["ok", "ok"]);
  assert.deepEqual(await outcomes({}, true), ["ok", "ok"]);
});

Deno.test("EnvironmentPool.lease() rejects files of a setup where rollouts have no folder", async () => {
  await using made = await openPool({ it: testServer({ isolation: "shared", allow_writes: true }) });
  for (const setup of [{ files: { "a.txt": "x" } }, { directories: ["box"] }]) {
    await assert.rejects(lease(made.pool, made.catalog, { setup }), {
      message: "Cannot set up the scenario's files: no server of this pipeline gives a rollout a folder of its own",
    });
  }
  const one = await lease(made.pool, made.catalog, { setup: { files: {}, directories: [] } });
  await one.release();
});

Deno.test("observe() with read_only makes only calls that the server or the user's list says change nothing", async () => {
  await using made = await openPool({ it: testServer({ read_only_tools: ["help*"] }) });
  const one = await lease(made.pool, made.catalog);
  const outcome = async (tool: string) => (await one.observe({ tool, arguments: {} }, { read_only: true })).outcome;
  assert.deepEqual([await outcome("notes"), await outcome("helpers"), await outcome("remember")], [
    "ok",
    "ok",
    "denied",
  ]);
  const { text } = await one.observe({ tool: "remember", arguments: {} }, { read_only: true });
  assert.equal(text, 'Neither the server nor read_only_tools says that "remember" is read-only.');
  assert.equal((await one.observe({ tool: "remember", arguments: { text: "x" } })).text, '["x"]');
});

Deno.test("EnvironmentPool.discover() warns of the tools that a shared server will be refused", async () => {
  const warned: string[] = [];
  const log = { ...silent, warn: (message: string) => void warned.push(message) };
  const it = testServer({ isolation: "shared", tools: ["notes", "append", "pid"], read_only_tools: ["notes"] });
  await using _made = await openPool({ it }, { log });
  assert.deepEqual(warned, [
    'Server "it" is shared by all rollouts: calls of 2 of its 3 tools will be refused (append, pid); ' +
    "list the read-only ones in servers.it.read_only_tools, or set allow_writes: true there",
  ]);
});

Deno.test("EnvironmentPool takes a server's own secrets out of what it answers", async () => {
  await using made = await openPool({
    it: testServer({ env: { MY_API_KEY: "s3cr3t-of-a-pool", MODE: "production" } }),
  });
  const answer = await (await lease(made.pool, made.catalog)).call("environment", {});
  assert.deepEqual([json(answer).MY_API_KEY, json(answer).MODE], ["[redacted]", "production"]);
  assert(!JSON.stringify(answer).includes("s3cr3t-of-a-pool"));
});

Deno.test("EnvironmentPool shares one process when isolation is shared, and starts it again when it died", async () => {
  await using made = await openPool({ it: testServer({ isolation: "shared", allow_writes: true }) });
  const [one, two] = await Promise.all([lease(made.pool, made.catalog), lease(made.pool, made.catalog)]);
  const pid = (await one.call("pid", {})).text;
  assert.equal((await two.call("pid", {})).text, pid);
  assert.equal((await one.call("crash", {})).outcome, "server_died");
  assert.notEqual((await two.call("pid", {})).text, pid);
});

Deno.test("EnvironmentPool offers resources as tools when the pipeline says so", async () => {
  await using made = await openPool({ it: testServer({ resources: true, tools: ["notes"] }) });
  const one = await lease(made.pool, made.catalog);
  assert.deepEqual(one.tools.map((tool) => tool.model_name), ["notes", "list_resources", "read_resource"]);
  assert.equal((await one.call("list_resources", {})).text, "test://one - one - The only one");
  assert.equal(
    (await one.call("read_resource", { uri: "test://one" })).text,
    "[resource: test://one]\nthe content of one",
  );
});

Deno.test("EnvironmentPool.discover() fails closed when a listed tool is gone", async () => {
  await assert.rejects(openPool({ it: testServer({ tools: ["no_such_tool"] }) }), { code: "TOOLS_MISSING" });
});

Deno.test("EnvironmentPool.warm() starts servers ahead and removes every folder in the end", async () => {
  let run_dir: string;
  {
    await using made = await openPool({ it: testServer() });
    run_dir = made.run_dir;
    await made.pool.warm(3);
    assert.equal([...Deno.readDirSync(`${run_dir}/env`)].length, 3);
    await Promise.all([1, 2, 3].map(() => lease(made.pool, made.catalog)));
    assert.equal([...Deno.readDirSync(`${run_dir}/env`)].length, 3);
  }
  await assert.rejects(Deno.stat(run_dir), Deno.errors.NotFound);
});

Deno.test("EnvironmentPool shows 64 rollouts at once only their own state", async () => {
  await using made = await openPool({ it: testServer() });
  const rollout = async (id: number) => {
    const one = await lease(made.pool, made.catalog, {
      setup: { calls: [{ tool: "append", arguments: { text: `${id}` } }] },
    });
    for (const step of [1, 2]) {
      await one.call("append", { text: `${id}.${step}` });
      await one.call("remember", { text: `${id}.${step}` });
    }
    const seen = [json(await one.call("notes", {})), json(await one.call("remember", { text: "end" }))];
    await one.release();
    assert.deepEqual(seen, [[`${id}`, `${id}.1`, `${id}.2`], [`${id}.1`, `${id}.2`, "end"]]);
  };
  await Promise.all(Array.from({ length: 64 }, (_, id) => rollout(id)));
});

Deno.test("EnvironmentPool's soak means something: eight rollouts on one shared server lose notes", async () => {
  await using made = await openPool({ it: testServer({ isolation: "shared", allow_writes: true }) });
  const leases = await Promise.all(Array.from({ length: 8 }, () => lease(made.pool, made.catalog)));
  await Promise.all(leases.map((one, id) => one.call("append", { text: `${id}` })));
  assert(json(await leases[0]!.call("notes", {})).length < 8);
});
