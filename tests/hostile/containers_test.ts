/** Servers in containers that look for privileges, and that plant links to files of the machine. @module */
import assert from "node:assert/strict";
import { IMAGE, preparePodman } from "../fixtures/podman.ts";
import { serverConfig } from "../fixtures/test_pool.ts";
import { hostilePool, run, victim } from "./hostile_pool.ts";

const missing = preparePodman();
const FIXTURES = new URL("../fixtures", import.meta.url).pathname;
const STATUS = "while read -r line; do case $line in Cap*|NoNewPrivs*) echo $line;; esac; done </proc/self/status";

function test(name: string, run: () => Promise<void>) {
  Deno.test({ name: missing ? `${name} (not run: ${missing})` : name, ignore: missing !== null, fn: run });
}

function contained(container: Record<string, unknown> = {}, more: Record<string, unknown> = {}) {
  return serverConfig({
    command: "/bin/deno",
    args: ["run", "-A", "--no-config", "/srv/hostile_server.ts"],
    isolation: "container",
    container: { engine: "podman", image: IMAGE, mounts: [`${FIXTURES}:/srv`], ...container },
    start_timeout_secs: 120,
    call_timeout_secs: 120,
    ...more,
  });
}

async function privileges(container: Record<string, unknown>) {
  await using made = await hostilePool({ it: contained(container) });
  const lease = await made.lease();
  return Object.fromEntries((await run(lease, STATUS)).trim().split("\n").map((line) => line.split(/:\s*/)));
}

test("a server in a container has no capabilities and gains no privileges, unless the file says otherwise", async () => {
  const { CapPrm, CapEff, CapBnd, NoNewPrivs } = await privileges({});
  assert.deepEqual([CapPrm, CapEff, CapBnd].map((set) => BigInt(`0x${set}`)), [0n, 0n, 0n]);
  assert.equal(NoNewPrivs, "1");
  const more = await privileges({ capabilities: ["NET_BIND_SERVICE"], new_privileges: true });
  assert.equal(BigInt(`0x${more.CapBnd}`), 1n << 10n);
  assert.equal(more.NoNewPrivs, "0");
});

test("a link from a container to a file of the machine is not followed", async () => {
  await using outside = await victim();
  await using made = await hostilePool({ it: contained({}, { reset: "workdir" }) });
  const setup = { files: { "precious.txt": "x", "dir/precious.txt": "y" } };
  const link = (target: string, at: string) => `deno eval 'Deno.symlinkSync("${target}", "${at}")'`;
  for (let again = 0; again < 2; again++) {
    const lease = await made.lease({ setup });
    await run(
      lease,
      'deno eval \'for (const at of ["precious.txt", "dir"]) Deno.removeSync(at, { recursive: true })\'',
    );
    await run(lease, link(`${outside.path}/precious.txt`, "precious.txt"));
    await run(lease, link(outside.path, "dir"));
    await lease.release();
  }
  await (await made.lease({ setup })).release();
  await outside.assertWhole();
});
