/**
 * How `discover` and `call` are told which server: flags, words, and what these declare.
 * @module
 */
import { z } from "zod";
import { type Declared, declareServers } from "../../pipeline/mcp/declared/declare.ts";
import type { Positional } from "./verb.ts";

/** The flags. */
export const server_flags = {
  config: z.string().optional().describe("File with servers: a client's mcpServers JSON, or a pipeline.")
    .meta({ examples: ["mcp.json"] }),
  header: z.array(z.string()).default([]).describe("Header sent with every request, as `Name: value`.")
    .meta({ examples: [["Authorization: Bearer …"]] }),
  env: z.array(z.string()).default([]).describe(
    "Variable for a server's process: `NAME=value`, or the NAME of a set one.",
  )
    .meta({ examples: [["GITHUB_TOKEN"]] }),
  start_timeout_secs: z.number().positive().optional().describe("Longest wait for a server's first answer."),
};

/** The words. */
export const server_words: Positional = {
  name: "server",
  description: "A command and its arguments (after --), a URL, or with --config a name. MCP_URL when left out.",
  optional: true,
  variadic: true,
  command: true,
};

/** Both as declarations. */
export function declaredBy(
  args: { config?: string; header: string[]; env: string[]; start_timeout_secs?: number },
  words: string[],
): Promise<Declared> {
  const { config, header: headers, env: variables, start_timeout_secs } = args;
  return declareServers({ words, headers, config, variables, start_timeout_secs });
}
