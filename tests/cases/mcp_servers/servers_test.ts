/** hone's pool against public servers, as their packages are published. Needs the network once, to fetch them. @module */
import assert from "node:assert/strict";
import { killProcess, startProcess } from "../../../pipeline/mcp/session/process.ts";
import type { Catalog, Scenario } from "../../../pipeline/events.ts";
import type { EnvironmentPool, Lease } from "../../../pipeline/mcp/pool/pool.ts";
import { openPool, scenario, serverConfig } from "../../fixtures/test_pool.ts";

const forever = new AbortController().signal;

function lease(pool: EnvironmentPool, catalog: Catalog, partial: Partial<Scenario> = {}): Promise<Lease> {
  return pool.lease({ rollout_id: "r", scenario: scenario(partial), catalog, signal: forever });
}

function filesystem(args: string[]) {
  const tools = ["write_file", "read_text_file", "create_directory", "move_file", "list_directory"];
  return serverConfig({ command: args[0], args: [...args.slice(1), "${workdir}"], tools, reset: "workdir" });
}

for (const command of [["deno", "run", "-A", "npm:"], ["npx", "-y", ""]]) {
  Deno.test(`EnvironmentPool runs server-filesystem when it is started by ${command[0]}`, async () => {
    const server = "@modelcontextprotocol/server-filesystem@2026.8.31";
    await using made = await openPool({ files: filesystem([...command.slice(0, -1), command.at(-1) + server]) });
    const { pool, catalog } = made;
    assert.equal(catalog.servers[0]!.implementation.name, "secure-filesystem-server");
    assert.equal(catalog.tools.length, 5);
    const setup = { files: { "docs/a.txt": "hello" }, directories: ["empty"] };
    const one = await lease(pool, catalog, { setup });
    assert.equal((await one.call("read_text_file", { path: "docs/a.txt" })).text, "hello");
    const wrong = await one.call("write_file", { path: "b.txt" });
    assert.deepEqual([wrong.outcome, wrong.text], [
      "invalid_arguments",
      'Invalid arguments for write_file: "content" is missing.',
    ]);
    const unknown = await one.call("read_file", { path: "docs/a.txt" });
    assert.equal(unknown.outcome, "unknown_tool");
    assert.match(unknown.text, /^There is no tool "read_file"\. The tools are: read_text_file, /);
    assert.equal((await one.call("read_text_file", { path: "nope" })).outcome, "tool_error");
    const seen = await one.observe({ tool: "get_file_info", arguments: { path: "${workdir}/docs" } });
    assert.match(seen.text, /isDirectory: true/);
    await one.release();
    const two = await lease(pool, catalog);
    assert.equal((await two.call("list_directory", { path: "." })).text, "");
    assert.equal(two.workdir, one.workdir);
    await two.release();
  });
}

async function everything(mode: string): Promise<AsyncDisposable & { port: number }> {
  const port = freePort();
  const child = startProcess({
    command: "deno",
    args: ["run", "-A", "npm:@modelcontextprotocol/server-everything", mode],
    env: { ...Deno.env.toObject(), PORT: String(port) },
    cwd: Deno.cwd(),
  });
  child.stdout.cancel();
  child.stderr.cancel();
  for (;;) {
    try {
      (await Deno.connect({ port, hostname: "127.0.0.1" })).close();
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return { port, [Symbol.asyncDispose]: () => killProcess(child) };
}

function freePort(): number {
  const listener = Deno.listen({ port: 0 });
  const { port } = listener.addr;
  listener.close();
  return port;
}

for (const [mode, path, transport] of [["streamableHttp", "mcp", "http"], ["sse", "sse", "sse"]] as const) {
  Deno.test(`EnvironmentPool runs server-everything over ${transport}`, async () => {
    await using server = await everything(mode);
    const url = `http://127.0.0.1:${server.port}/${path}`;
    await using made = await openPool({ it: serverConfig({ url, read_only_tools: ["echo", "get-sum"] }) });
    assert.equal(made.catalog.servers[0]!.transport, transport);
    assert(made.catalog.tools.length > 10);
    const rollout = async (id: string) => {
      const wanted = { rollout_id: id, scenario: scenario(), catalog: made.catalog, signal: forever };
      const one = await made.pool.lease(wanted);
      const echo = await one.call("echo", { message: id });
      const denied = await one.call("get-env", {});
      await one.release();
      assert.deepEqual([echo.outcome, echo.text, denied.outcome], ["ok", `Echo: ${id}`, "denied"]);
    };
    await Promise.all(Array.from({ length: 8 }, (_, id) => rollout(String(id))));
  });
}

for (const command of [["deno", "run", "-A", "npm:"], ["npx", "-y", ""]]) {
  Deno.test(`EnvironmentPool runs server-everything over stdio when it is started by ${command[0]}`, async () => {
    const args = [...command.slice(1, -1), `${command.at(-1)}@modelcontextprotocol/server-everything`];
    await using made = await openPool({ it: serverConfig({ command: command[0], args, resources: true }) });
    const one = await lease(made.pool, made.catalog);
    assert.equal((await one.call("get-sum", { a: 2, b: 3 })).text, "The sum of 2 and 3 is 5.");
    const image = await one.call("get-tiny-image", {});
    assert.match(image.text, /\[image: image\/png, \d+ bytes\]/);
    const structured = await one.call("get-structured-content", { location: "New York" });
    assert("structuredContent" in (structured.result as object));
    const long = await one.call("trigger-long-running-operation", { duration: 1, steps: 4 });
    assert.equal(long.outcome, "ok");
    assert.match((await one.call("list_resources", {})).text, /^demo:/);
    const asked = await one.call("trigger-elicitation-request", {});
    assert.match(asked.text, /declined/);
  });
}
