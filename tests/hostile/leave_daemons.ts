/**
 * Leases two environments whose servers leave daemons behind, resets the first, and prints as JSON how such processes
 * are found here, those of each rollout, and the servers. Then it waits. Argument: the servers' `reset`.
 * @module
 */
import { finder, processes } from "../../pipeline/mcp/session/left_behind.ts";
import { environment, hostile, hostilePool, run } from "./hostile_pool.ts";

/** Daemons by what they do to get away; each prints its own id. */
const DAEMONS: Record<string, string> = {
  background: 'sh -c "echo \\$\\$; exec sleep 1000" &',
  session: 'setsid sh -c "echo \\$\\$; exec sleep 1000" &',
  orphan: '(setsid sh -c "(setsid sh -c \\"echo \\\\\\$\\\\\\$; exec sleep 1000\\" &)" &)',
  chain: 'setsid sh -c "echo \\$\\$; trap \\"\\" TERM INT HUP; while :; do sleep 1; done" &',
  bare: 'env -i /usr/bin/setsid /bin/sh -c "echo \\$\\$; exec /bin/sleep 1000" &',
};

const [reset = "restart"] = Deno.args;
const names = Object.keys(DAEMONS).filter((name) => name !== "bare" || finder() === "control groups");
const script = `{ ${names.map((name) => `${DAEMONS[name]!} `).join("\n")}\n} </dev/null 2>/dev/null >"$HOME/ids"; ` +
  `until [ "$(wc -l <"$HOME/ids")" = ${names.length} ]; do sleep 0.05; done; cat "$HOME/ids"`;

const made = await hostilePool({ it: hostile({ reset }, "sleep 1") });
const [one, two] = await Promise.all([made.lease(), made.lease()]);
const daemons = await Promise.all(
  [one, two].map(async (lease) => (await run(lease, script)).trim().split("\n").map(Number)),
);
const servers = await Promise.all([one, two].map(async (lease) => Number((await environment(lease)).pid)));
await one.release();
const again = await made.lease();
const now = Number((await environment(again)).pid);
const beside = (await run(again, `cat /proc/${now}/task/*/children`)).trim().split(/\s+/).length;
console.log(JSON.stringify({ finder: finder(), daemons, servers, now, beside }));
const last = (await run(again, script)).trim().split("\n").map(Number);
console.log(JSON.stringify(last));
// A server may kill the reaper: another takes over.
for (const { pid, parent } of await processes()) {
  if (parent === Deno.pid && /read -r op one/.test(Deno.readTextFileSync(`/proc/${pid}/cmdline`))) {
    Deno.kill(pid, "SIGKILL");
  }
}
await new Promise((go) => setTimeout(go, 300));
console.log("reaper killed");
for await (const _ of Deno.stdin.readable) break;
await made[Symbol.asyncDispose]();
