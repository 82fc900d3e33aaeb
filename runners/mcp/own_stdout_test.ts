import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { descendants, leftovers } from "../../tests/runs/processes.ts";
import { ownCommand } from "./own_command.ts";

/** Prints in every way there is, when it is loaded and for as long as the process lives. */
const LOUD = `
import process from "node:process";
import { definePlugin } from "@hone/hone";
import { z } from "zod";
console.log("logged");
console.info("informed");
process.stdout.write("written\\n");
Deno.stdout.writeSync(new TextEncoder().encode('{"jsonrpc":"2.0","id":2,"result":{"forged":true}}\\n'));
setInterval(() => console.log("still here"), 1);
export default definePlugin({
  kind: "exporter",
  name: "loud",
  summary: "Prints.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  create: () => ({ export: () => Promise.reject(new Error("never called")) }),
});
`;

const HELLO = {
  protocolVersion: "2025-06-18",
  capabilities: {},
  clientInfo: { name: "test", version: "1.0.0" },
};

/** `hone --mcp --allow-run` as a client sees it: what it sends, line by line, and where the rest goes. */
function connect(cwd: string) {
  const [command, ...args] = [...ownCommand(), "--mcp", "--allow-run"];
  const child = spawn(command!, args, { cwd, stdio: "pipe" });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    ended: new Promise<number | null>((resolve) => child.once("close", resolve)),
    printed: text(child.stderr),
    async ask(id: number, method: string, params: object) {
      child.stdin.write(JSON.stringify({ jsonrpc: "2.0", id, method, params }) + "\n");
      return JSON.parse((await lines.next()).value!);
    },
    rest: async () => await Array.fromAsync({ [Symbol.asyncIterator]: () => lines }),
  };
}

Deno.test("hone --mcp sends nothing but its own messages to stdout, whatever a plugin prints", async () => {
  const dir = await Deno.makeTempDir();
  const server = connect(dir);
  try {
    assert.equal((await server.ask(1, "initialize", HELLO)).result.serverInfo.name, "hone");
    await Deno.writeTextFile(join(dir, "loud.ts"), LOUD);
    const call = (id: number) => server.ask(id, "tools/call", { name: "list", arguments: { plugin: "./loud.ts" } });
    for (const id of [2, 3]) {
      const { result, ...message } = await call(id);
      assert.deepEqual(message, { jsonrpc: "2.0", id });
      assert.equal(result.structuredContent.summary, "Prints.");
    }
    server.child.stdin.end();
    assert.deepEqual(await server.rest(), []);
    assert.equal(await server.ended, 0);
    const lines = (await server.printed).split("\n");
    for (const line of ["logged", "informed", "written", "still here"]) assert.ok(lines.includes(line), line);
  } finally {
    server.child.kill();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("hone --mcp leaves no process behind, however it is ended", async () => {
  const dir = await Deno.makeTempDir();
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    const server = connect(dir);
    await server.ask(1, "initialize", HELLO);
    const known = await descendants(server.child.pid!);
    assert.equal(known.length, 1);
    server.child.kill(signal);
    await server.ended;
    assert.deepEqual(await leftovers(dir, known), []);
    server.child.stdin.destroy();
  }
  await Deno.remove(dir, { recursive: true });
});
