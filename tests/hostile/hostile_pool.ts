/** What the hostile tests share: the hostile server, a pool over it, and how often to try what depends on chance. @module */
import assert from "node:assert/strict";
import type { Scenario } from "../../pipeline/events.ts";
import type { Lease } from "../../pipeline/mcp/pool/pool.ts";
import type { PoolOptions } from "../../pipeline/mcp/pool/pool.ts";
import { openPool, scenario, serverConfig } from "../fixtures/test_pool.ts";

const SERVER = new URL("../fixtures/hostile_server.ts", import.meta.url).pathname;

/** How often to try what depends on chance. */
export const REPEAT = Number(Deno.env.get("HONE_HOSTILE_REPEAT") ?? 5);

/** The declaration of the hostile server; `script` runs again and again beside it. */
export function hostile(partial: Record<string, unknown> = {}, script?: string) {
  const args = ["run", "-A", "--no-config", SERVER, ...script === undefined ? [] : [`--script=${script}`]];
  return serverConfig({ command: "deno", args, ...partial });
}

/** A pool over servers in which environments are leased by scenario. */
export async function hostilePool(
  servers: Record<string, ReturnType<typeof hostile>>,
  options: Partial<PoolOptions> = {},
) {
  const made = await openPool(servers, options);
  const signal = new AbortController().signal;
  const lease = (partial: Partial<Scenario> = {}): Promise<Lease> =>
    made.pool.lease({ rollout_id: "r", scenario: scenario(partial), catalog: made.catalog, signal });
  return { ...made, lease, [Symbol.asyncDispose]: made[Symbol.asyncDispose] };
}

/** Has the hostile server run a script; returns what it printed. */
export async function run(lease: Lease, script: string, server = "it"): Promise<string> {
  const { outcome, text } = await lease.observe({ server, tool: "run", arguments: { script } });
  assert.equal(outcome, "ok", text);
  return text;
}

/** The variables of a server. */
export async function environment(lease: Lease, server = "it"): Promise<Record<string, string>> {
  return JSON.parse((await lease.observe({ server, tool: "environment", arguments: {} })).text);
}

/** A folder outside of every rollout with a file in it, which nothing may touch. */
export async function victim() {
  const path = await Deno.makeTempDir({ prefix: "hone-victim-" });
  await Deno.writeTextFile(`${path}/precious.txt`, "precious");
  return {
    path,
    async assertWhole(why?: string) {
      assert.deepEqual([...Deno.readDirSync(path)].map(({ name }) => name), ["precious.txt"], why);
      assert.equal(await Deno.readTextFile(`${path}/precious.txt`), "precious", why);
    },
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}
