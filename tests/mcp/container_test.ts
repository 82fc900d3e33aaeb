import assert from "node:assert/strict";
import { dirname } from "node:path";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Lease } from "../../pipeline/mcp/pool/pool.ts";
import { IMAGE, podman, preparePodman } from "../fixtures/podman.ts";
import { openPool, scenario, serverConfig, TEST_SERVER } from "../fixtures/test_pool.ts";

const missing = preparePodman();
const LABEL = `hone-test=${crypto.randomUUID()}`;
const signal = new AbortController().signal;
const wanted = { rollout_id: "r", scenario: scenario(), signal };

function test(name: string, run: () => Promise<void>) {
  Deno.test({ name: missing ? `${name} (not run: ${missing})` : name, ignore: missing !== null, fn: run });
}

function contained(container: Record<string, unknown> = {}, more: Record<string, unknown> = {}, ...flags: string[]) {
  return serverConfig({
    command: "/bin/deno",
    args: ["run", "-A", "--no-config", "/srv/mcp_server.ts", ...flags],
    isolation: "container",
    container: {
      engine: "podman",
      image: IMAGE,
      mounts: [`${dirname(TEST_SERVER)}:/srv`],
      args: ["--label", LABEL],
      ...container,
    },
    start_timeout_secs: 120,
    call_timeout_secs: 120,
    ...more,
  });
}

const text = async (lease: Lease, tool: string, args = {}) => (await lease.call(tool, args)).text;
const running = () => podman("ps", "-aq", "--filter", `label=${LABEL}`).stdout.trim();

test("a server in a container sees its own folders and nothing of the machine", async () => {
  await using made = await openPool({ it: contained({}, { env: { OWN: "${workdir}/x", HONE_TEST: "a b=c" } }) });
  const { pool, catalog } = made;
  const [one, two] = await Promise.all([pool.lease({ ...wanted, catalog }), pool.lease({ ...wanted, catalog })]);
  const env = JSON.parse(await text(one, "environment"));
  assert.deepEqual([env.cwd, env.OWN, env.HONE_TEST], [one.workdir, `${one.workdir}/x`, "a b=c"]);
  assert(env.HOME.startsWith(made.run_dir) && env.TMPDIR.startsWith(made.run_dir));
  assert.equal(env.USER, undefined);
  await one.call("append", { text: "mine" });
  assert.equal(await Deno.readTextFile(`${one.workdir}/notes.json`), '["mine"]');
  assert.equal(await text(two, "notes"), "[]");
  assert.match(await text(one, "reach", { url: "http://127.0.0.1:1" }), /^unreachable/);
  assert.match(await text(one, "write", { path: "/srv/new.txt" }), /^not written: .*(read-only|os error 30)/i);
  assert.equal(await text(one, "write", { path: "/tmp/left.txt" }), "written");
  await one.release();
  const leases = await Promise.all([1, 2].map(() => pool.lease({ ...wanted, catalog })));
  for (const next of leases) {
    assert.equal(await text(next, "notes"), "[]");
    assert.equal(await text(next, "exists", { path: "/tmp/left.txt" }), "false");
  }
});

test("a container is kept when reset is workdir, and gone when its pool is", async () => {
  {
    await using made = await openPool({ it: contained({}, { reset: "workdir" }) });
    const { pool, catalog } = made;
    const one = await pool.lease({ ...wanted, catalog });
    await one.call("remember", { text: "kept" });
    await one.call("append", { text: "gone" });
    await one.release();
    const two = await pool.lease({ ...wanted, catalog });
    assert.equal(await text(two, "remember", { text: "more" }), '["kept","more"]');
    assert.equal(await text(two, "notes"), "[]");
    assert.notEqual(running(), "");
  }
  assert.equal(running(), "");
});

test("a server's memory and processes have limits in a container", async () => {
  await using made = await openPool({ it: contained({ memory: "400m", pids: 40 }) });
  const one = await made.pool.lease({ ...wanted, catalog: made.catalog });
  assert.match(await text(one, "children", { count: 60 }), /^started (\d|[1-3]\d) of 60/);
  const fat = await one.call("hog", { megabytes: 600 });
  assert.equal(fat.outcome, "server_died");
});

test("a missing image is said, with what to do", async () => {
  await assert.rejects(openPool({ it: contained({ image: "localhost/no-such-image:1" }) }), (error: HoneError) => {
    assert.equal(error.code, "SERVER_START_FAILED");
    assert.match(error.message, /^Server "it" failed to start: it exited with code 125\. Its stderr:\n.*no-such-image/);
    assert.equal(
      error.hint,
      'check that the image "localhost/no-such-image:1" is on this machine and contains the program: hone does not pull or build images',
    );
    return true;
  });
});

for (const how of ["SIGTERM", "SIGINT", "SIGKILL"] as const) {
  test(`no container outlives a hone that dies of ${how}`, async () => {
    const program = new URL("../fixtures/lease_and_wait.ts", import.meta.url).pathname;
    const TMPDIR = await Deno.makeTempDir();
    const args = ["run", "-A", "--no-check", program, JSON.stringify(contained({}, {}, "--helper"))];
    const child = new Deno.Command(Deno.execPath(), { args, env: { TMPDIR }, stdout: "piped" }).spawn();
    const reader = child.stdout.getReader();
    assert.match(new TextDecoder().decode((await reader.read()).value), /^\[\[\d+,\d+,\d+\],/);
    assert.equal(running().split("\n").length, 2);
    child.kill(how);
    await child.status;
    await reader.cancel();
    for (let tries = 0; tries < 400 && running() !== ""; tries++) await new Promise((go) => setTimeout(go, 50));
    assert.equal(running(), "");
    await Deno.remove(TMPDIR, { recursive: true });
  });
}
