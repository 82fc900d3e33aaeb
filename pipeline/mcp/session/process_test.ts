import assert from "node:assert/strict";
import { openPool, scenario, testServer } from "../../../tests/fixtures/test_pool.ts";
import { childEnv } from "../../program/child_env.ts";

const PROGRAM = new URL("../../../tests/fixtures/lease_and_wait.ts", import.meta.url).pathname;

function alive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return true;
  } catch {
    return false;
  }
}

/** Those that still live after a while. */
async function left(pids: number[]): Promise<number[]> {
  for (let tries = 0; tries < 200 && pids.some(alive); tries++) await new Promise((go) => setTimeout(go, 25));
  return pids.filter(alive);
}

for (const signal of ["SIGTERM", "SIGINT", "SIGKILL"] as const) {
  Deno.test(`a program that dies of ${signal} leaves no server and no helper of one behind`, async () => {
    const TMPDIR = await Deno.makeTempDir();
    const args = ["run", "-A", "--no-check", PROGRAM];
    const child = new Deno.Command(Deno.execPath(), { args, env: { TMPDIR }, stdout: "piped" }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const pids: number[] = JSON.parse((await reader.read()).value!).flat();
    assert.equal(pids.length, 6);
    assert(pids.every(alive));
    child.kill(signal);
    await child.status;
    await reader.cancel();
    assert.deepEqual(await left(pids), []);
    await Deno.remove(TMPDIR, { recursive: true });
  });
}

Deno.test("a released slot's server takes its helpers with it", async () => {
  const signal = new AbortController().signal;
  {
    await using made = await openPool({ it: testServer({}, "--helper") });
    const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal };
    const one = await made.pool.lease(wanted);
    const helpers: number[] = JSON.parse((await one.call("helpers", {})).text);
    const pids = [Number((await one.call("pid", {})).text), ...helpers];
    assert.deepEqual([pids.length, pids.every(alive)], [3, true]);
    await one.release();
    await made.pool.lease(wanted);
    assert.deepEqual(await left(pids), []);
  }
});

Deno.test("childEnv() keeps the user's package caches and nothing that it does not name", () => {
  Deno.env.set("HONE_TEST_API_KEY", "secret");
  const env = childEnv({ OWN: "1", PATH: "/bin" }, { home: "/h", tmp: "/t" });
  assert.deepEqual([env.HOME, env.TMPDIR, env.OWN, env.PATH], ["/h", "/t", "1", "/bin"]);
  assert.equal(env.HONE_TEST_API_KEY, undefined);
  for (const name of ["DENO_DIR", "npm_config_cache", "UV_CACHE_DIR"]) {
    assert(env[name] && !env[name].startsWith("/h/"), `${name} is ${env[name]}`);
  }
});
