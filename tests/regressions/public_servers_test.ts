/** What public servers were seen to do, and hone did not bear (docs/servers.md). @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import { startLimit } from "../../pipeline/mcp/session/server_endpoint.ts";
import { folder, hone } from "../runs/hone_process.ts";

const FIXTURES = join(import.meta.dirname!, "../fixtures");
const odd = (mode: string) => ["--", "deno", "run", "-A", join(FIXTURES, "odd_server.ts"), mode];
const CHECK = /^Check .*\n/gm;

async function discovered(...words: string[]) {
  const { code, out, err } = await hone("discover", "--format", "json", ...words);
  assert.equal(code, 0, err);
  return JSON.parse(out).servers[0];
}

Deno.test("hone discover waits for a server of the new revision that is slow to start (serena, markitdown)", async () => {
  const words = ["--start-timeout-secs", "60", "--", "deno", "run", "-A", join(FIXTURES, "slow_modern_server.ts")];
  const server = await discovered(...words);
  assert.deepEqual([server.protocol, server.tools.length], ["2026-07-28", 1]);
});

Deno.test("hone discover lets an installer that it gives up on clean up (npx: a half-installed package stays broken)", async () => {
  await using home = await folder();
  const mark = join(home.path, "cleaned");
  const installer = `trap 'echo cleaned > "${mark}"; exit 1' TERM; while :; do sleep 0.05; done`;
  const { code, err } = await hone("discover", "--start-timeout-secs", "5", "--", "sh", "-c", installer);
  assert.equal(code, 1);
  assert.match(err, /^error\[SERVER_START_TIMEOUT\] Server "sh" did not answer within 5 s of starting/);
  assert.equal(await Deno.readTextFile(mark), "cleaned\n");
});

Deno.test("startLimit() leaves time for a download where the command may download", () => {
  const limit = (command: string, ...args: string[]) =>
    startLimit(pipeline_schema.shape.servers.parse({ it: { command, args } }).it!);
  assert.deepEqual([limit("npx", "-y", "x"), limit("/usr/bin/uvx", "x"), limit("deno", "run", "npm:x")], [
    300,
    300,
    300,
  ]);
  assert.deepEqual([limit("node", "server.js"), limit("deno", "run", "server.ts")], [30, 30]);
});

Deno.test("hone discover shows the tools of a server whose other lists fail (postgres without a database)", async () => {
  const server = await discovered(...odd("lists_fail"));
  assert.deepEqual([server.tools.length, server.resources, server.prompts], [1, [], []]);
  assert.deepEqual(server.risks.slice(0, 2), [
    'Server "odd_server" cannot list its resources: connect ECONNREFUSED 127.0.0.1:5432',
    'Server "odd_server" cannot list its prompts: Method not found',
  ]);
});

Deno.test("hone discover shows the control characters of a server, and obeys none", async () => {
  const { out } = await hone("discover", ...odd("no_tools"));
  assert.equal(out.split("\n")[0], "odd_server: odd\\u{1b}[2J 0.1.0 over stdio, revision 2024-11-05");
});

Deno.test("hone discover says that a server lists no tools (atlassian without an account)", async () => {
  const server = await discovered(...odd("no_tools"));
  assert.deepEqual(server.risks, ["it lists no tools: it may want a setting or a key"]);
});

Deno.test("hone discover says of what a server died that was asked for its tools", async () => {
  const { code, err } = await hone("discover", ...odd("dies_listing"));
  assert.equal(code, 1);
  assert.equal(
    err.replace(CHECK, ""),
    'error[SERVER_LIST_FAILED] Server "odd_server" cannot list its tools: it exited with code 9. Its stderr:\nno database\n',
  );
});

Deno.test("hone discover keeps the first of two tools of one name, and says so", async () => {
  const server = await discovered(...odd("lists_twice"));
  assert.deepEqual(server.tools.map((tool: Record<string, unknown>) => [tool.model_name, tool.description]), [
    ["query", "Asks."],
  ]);
  assert.equal(server.risks[0], "tool query is listed more than once: the first is kept");
});

Deno.test("hone discover passes variables on, and says how where a server asks for one (slack, figma)", async () => {
  const { code, err } = await hone("discover", ...odd("wants_key"));
  assert.equal(code, 1);
  assert.equal(
    err.replace(CHECK, ""),
    `error[SERVER_START_FAILED] Server "odd_server" failed to start: it exited with code 1. Its stderr:
Reading settings
Please set EXAMPLE_API_KEY
  hint: a server inherits few environment variables: set those that it needs in servers.odd_server.env (or with --env NAME)
`,
  );
  const server = await discovered("--env", "EXAMPLE_API_KEY=x", ...odd("wants_key"));
  assert.equal(server.tools.length, 1);
  const unset = await hone("discover", "--env", "NOT_SET_ANYWHERE", ...odd("wants_key"));
  assert.match(
    unset.err,
    /Variable "NOT_SET_ANYWHERE" is invalid: expected NAME=value, or the NAME of a variable that is set/,
  );
});
