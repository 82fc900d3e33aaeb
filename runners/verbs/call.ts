/** `hone call`: calls one tool of one server under hone's limits. @module */
import { z } from "zod";
import { HoneError, mcp, messageOf } from "../../pipeline/diagnostics/mod.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { isObject } from "../../pipeline/common/json.ts";
import { callTool } from "../../pipeline/mcp/catalog/inspect.ts";
import { declaredBy, server_flags, server_words } from "./named_server.ts";
import { someLines } from "./table.ts";
import { defineVerb, indented } from "./verb.ts";

const args = z.strictObject({
  ...server_flags,
  tool: z.string().describe("Name of the tool, as its server lists it.").meta({ examples: ["echo"] }),
  input: z.string().default("{}").describe("Its arguments, as a JSON object."),
});

export default defineVerb({
  name: "call",
  summary: "Call one tool of an MCP server.",
  description:
    "Starts or connects to the server as a rollout would, checks the arguments against the tool's schema, calls the tool " +
    "under hone's limits and prints what a trajectory would record. Exits with 1 unless the outcome is ok.",
  effect: "runs",
  positional: [server_words],
  args,
  result: z.object({
    server: z.string(),
    tool: z.string(),
    arguments: z.record(z.string(), z.json()),
    outcome: z.enum([
      "ok",
      "tool_error",
      "protocol_error",
      "timeout",
      "server_died",
      "unknown_tool",
      "invalid_arguments",
      "denied",
      "cancelled",
    ]),
    text: z.string().describe("The result as a model would read it."),
    result: z.json().describe("The server's full response, or its error."),
    seconds: z.number(),
  }),
  examples: [
    `hone call --tool echo --input '{"message": "hi"}' -- npx -y @modelcontextprotocol/server-everything`,
    `hone call --config mcp.json files --tool list_directory --input '{"path": "."}' --format json`,
  ],
  async run(call) {
    const { args, signal } = call;
    const declared = await declaredBy(call);
    return await callTool(declared, { tool: args.tool, arguments: parseInput(args.input) }, signal);
  },
  formats: { json: indented },
  text: ({ text }) => someLines(text),
  remarks: ({ outcome, seconds }) => [`${outcome} in ${seconds.toFixed(3)} s`],
  exit: ({ outcome }) => outcome === "ok" ? 0 : 1,
});

function parseInput(text: string): JsonObject {
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch (error) {
    throw new HoneError(mcp.bad_input(text, messageOf(error)));
  }
  if (isObject(input)) return input;
  throw new HoneError(mcp.bad_input(text, "expected { … }"));
}
