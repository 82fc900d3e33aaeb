/**
 * The server arguments of `discover` and `call`: flags, positional words, and the declarations that they yield.
 * @module
 */
import { z } from "zod";
import { type Declared, declareServers } from "../../pipeline/mcp/declared/declare.ts";
import type { Positional } from "./verb.ts";

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
};

/** The positional words. */
export const server_words: Positional = {
  name: "server",
  description: "A command and its arguments (after --), a URL, or with --config a name. Default: MCP_URL.",
  optional: true,
  variadic: true,
  command: true,
};

/** The servers that both declare. */
export function declaredBy(
  args: { config?: string; header: string[]; env: string[]; start_timeout_secs?: number },
  words: string[],
): Promise<Declared> {
  const { config, header: headers, env: variables, start_timeout_secs } = args;
  return declareServers({ words, headers, config, variables, start_timeout_secs });
}
