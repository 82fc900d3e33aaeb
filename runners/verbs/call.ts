/** `hone call`: one tool of one server under hone's limits. @module */
import { z } from "zod";
import { HoneError, mcp, messageOf } from "../../pipeline/diagnostics/mod.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { isObject } from "../../pipeline/common/json.ts";
import { callTool } from "../../pipeline/mcp/catalog/inspect.ts";
import { declaredBy, server_flags, server_words } from "./discover.ts";
import { someLines } from "../cli/table.ts";
import { defineVerb } from "./verb.ts";

const args = z.strictObject({
  ...server_flags,
  tool: z.string().describe("The tool, by its server's own name.").meta({ examples: ["echo"] }),
  input: z.string().default("{}").describe("Its arguments, a JSON object."),
});

export default defineVerb({
  name: "call",
  summary: "Call one tool of an MCP server.",
  description:
    "Starts or reaches the server as a rollout would, checks the arguments against the tool's schema, calls it under " +
    "hone's limits, and prints what a trajectory would record. Exit code 1 when the outcome is not ok.",
  positional: [server_words],
  args,
  examples: [
    `hone call --tool echo --input '{"message": "hi"}' -- npx -y @modelcontextprotocol/server-everything`,
    `hone call --config mcp.json files --tool list_directory --input '{"path": "."}' --format json`,
  ],
  async run({ args, positional, out, err, signal, format }) {
    const declared = await declaredBy(args, positional);
    const called = await callTool(declared, { tool: args.tool, arguments: parseInput(args.input) }, signal);
    if (format === "json") out(JSON.stringify(called, null, 2));
    else {
      out(someLines(called.text));
      err(`${called.outcome} in ${called.seconds.toFixed(3)} s`);
    }
    return called.outcome === "ok" ? 0 : 1;
  },
});

function parseInput(text: string): JsonObject {
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch (error) {
    throw new HoneError(mcp.bad_input(text, messageOf(error)));
  }
  if (isObject(input)) return input;
  throw new HoneError(mcp.bad_input(text, "wanted { … }"));
}
