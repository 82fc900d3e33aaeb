/**
 * hone as an MCP server over stdio: the verbs as tools, and the runs as resources.
 * @module
 */
import { McpServer, ResourceTemplate } from "@modelcontextprotocol/server";
import { serveStdio, StdioServerTransport } from "@modelcontextprotocol/server/stdio";
import { join } from "node:path";
import process from "node:process";
import { z } from "zod";
import { listRuns } from "../../pipeline/store/live_run.ts";
import { readText } from "../../pipeline/common/read_text.ts";
import { redact } from "../../pipeline/common/redact.ts";
import { VERSION } from "../../pipeline/common/version.ts";
import { namedRun } from "../verbs/named_run.ts";
import { inside } from "./inside.ts";
import { protocolStream } from "./own_stdout.ts";
import { FILES, MAX_FILE_BYTES, statusOf } from "./status.ts";
import { answered, result } from "./tool_results.ts";
import { type HoneTool, honeTools } from "./tools.ts";

/** Serves until the client closes stdin or exits; resolves to the exit code. */
export async function serveHone(allow_run: boolean): Promise<number> {
  const tools = await honeTools(allow_run);
  const stdout = protocolStream();
  const ended = new Promise((resolve) => {
    process.stdin.once("close", resolve).once("end", resolve);
    stdout.once("close", resolve);
  });
  const handle = serveStdio(() => honeServer(tools), {
    transport: new StdioServerTransport(process.stdin, stdout),
    onerror: (error) => console.error(error.message),
  });
  await ended;
  await handle.close();
  // The last response may still be buffered.
  if (!stdout.destroyed) await new Promise<void>((resolve) => stdout.end(resolve));
  return 0;
}

/** The server, not yet connected. */
function honeServer(tools: HoneTool[]): McpServer {
  const server = new McpServer({ name: "hone", version: VERSION }, {
    instructions:
      "hone trains small models to use MCP servers and measures the result. `validate` checks a pipeline, `run` (if " +
      "allowed) starts it and returns a run id, `status` reports its progress, `query` reads its records in SQL.",
  });
  for (const { name, description, input, output, annotations, call } of tools) {
    server.registerTool(
      name,
      { description, inputSchema: input, outputSchema: output, annotations },
      (given, { mcpReq }) => call(given, mcpReq.signal),
    );
  }
  server.registerTool("status", {
    description:
      "Status of a run: while it is in progress, its rung (training stage), step, success so far and time left; then its verdict.",
    inputSchema: z.strictObject({
      run: z.string().default("latest").describe("A run's folder, its id or a prefix of it, or latest."),
    }),
    annotations: { readOnlyHint: true, openWorldHint: false },
  }, ({ run }) =>
    answered(async () => {
      const status = await statusOf(await namedRun(run, { within: inside }));
      return result([JSON.stringify(status)], status, false);
    }));
  addRuns(server);
  return server;
}

/** `hone://runs/<id>/<file>`: the files of a run, and `status`. */
function addRuns(server: McpServer) {
  const list = async () => ({
    resources: (await listRuns("runs")).map(({ id }) => ({
      uri: `hone://runs/${encodeURIComponent(id)}/status`,
      name: id,
      mimeType: "application/json",
    })),
  });
  server.registerResource(
    "run",
    new ResourceTemplate("hone://runs/{id}/{file}", { list, complete: { file: () => ["status", ...FILES] } }),
    { description: `A run's status, or one of its files: ${FILES.join(", ")}.` },
    async (uri, { id, file }) => {
      const known = (await listRuns("runs")).find((run) => run.id === decodeURIComponent(String(id)));
      const readable = file === "status" || FILES.includes(String(file));
      if (!known || !readable) {
        throw new Error(`no resource at ${uri.href}: expected hone://runs/<id>/<status or a file>`);
      }
      const run_dir = await namedRun(known.run_dir, { within: inside });
      const text = file === "status"
        ? JSON.stringify(await statusOf(run_dir))
        : redact(await readText(join(run_dir, String(file)), MAX_FILE_BYTES));
      return { contents: [{ uri: uri.href, text }] };
    },
  );
}
