/**
 * The server arguments of `discover` and `call`: flags, positional words, and the declarations that they yield.
 * @module
 */
import { z } from "zod";
import { type Declared, declareServers } from "../../pipeline/mcp/declared/declare.ts";
import { approval, yes } from "./consent.ts";
import type { Positional, VerbCall } from "./verb.ts";

/** The flags. */
export const server_flags = {
  config: z.string().optional().describe("File that declares servers: an MCP client's mcpServers JSON, or a pipeline.")
    .meta({ examples: ["mcp.json"] }),
  header: z.array(z.string()).default([]).describe("Header sent with every request, as `Name: value`.")
    .meta({ examples: [["Authorization: Bearer …"]] }),
  env: z.array(z.string()).default([]).describe(
    "Environment variable for the server's process: `NAME=value`, or the NAME of a variable that is set.",
  )
    .meta({ examples: [["GITHUB_TOKEN"]] }),
  start_timeout_secs: z.number().positive().optional().describe("Time limit for a server's first response."),
  yes,
};

/** The positional words. */
export const server_words: Positional = {
  name: "server",
  description: "A command and its arguments (after --), a URL, or with --config a name. Default: MCP_URL.",
  optional: true,
  variadic: true,
  command: true,
};

/** A call of a verb with these arguments. */
type Call = VerbCall<{ config?: string; header: string[]; env: string[]; start_timeout_secs?: number; yes: boolean }>;

/** The servers that both declare; those of a file once they are approved. */
export async function declaredBy(call: Call): Promise<Declared> {
  const { config, header: headers, env: variables, start_timeout_secs } = call.args;
  const declared = await declareServers({ words: call.positional, headers, config, variables, start_timeout_secs });
  if (config !== undefined) {
    await approval(call, config)(declared.programs, { sound: true, base_dir: declared.base_dir });
  }
  return declared;
}
