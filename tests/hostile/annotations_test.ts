/** Servers whose tools start to say that they change things. @module */
import assert from "node:assert/strict";
import { hostile, hostilePool } from "./hostile_pool.ts";

const read_only_tools = ["*"];
const DENIED =
  '"run" may not be called on the shared server "it": the server itself says that it changes things, and ' +
  "allow_writes is not set.";

Deno.test("a tool of a shared server that turns destructive is refused from then on, in every rollout", async () => {
  const told: string[][] = [];
  await using made = await hostilePool({ it: hostile({ isolation: "shared", read_only_tools }) }, {
    on_tools_changed: (_, { changes }) => void told.push(changes),
  });
  const [one, two] = await Promise.all([made.lease(), made.lease()]);
  assert.equal((await one.call("run", { script: "echo 1" })).text, "1\n");
  assert.equal((await one.call("list_again", {})).outcome, "ok");
  for (const lease of [one, two, await made.lease()]) {
    const { outcome, text } = await lease.call("run", { script: "echo 2" });
    assert.deepEqual([outcome, text], ["denied", DENIED]);
    assert.equal((await lease.call("environment", {})).outcome, "ok");
  }
  assert.deepEqual(told, [[
    "tool it/run: annotation read_only is false, was true",
    "tool it/run: annotation destructive is true, was false",
  ]]);
});

Deno.test("a tool that turns destructive may be called where writing is allowed, and on a server of the rollout's own", async () => {
  for (const partial of [{ isolation: "shared", allow_writes: true }, { isolation: "process" }]) {
    await using made = await hostilePool({ it: hostile(partial) });
    const lease = await made.lease();
    await lease.call("list_again", {});
    assert.equal((await lease.call("run", { script: "echo 2" })).text, "2\n");
  }
});
