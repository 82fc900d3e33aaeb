/** `hone discover`: what a server offers, with estimates and risks; writes a catalog. @module */
import { writeFile } from "node:fs/promises";
import { z } from "zod";
import { render } from "../../pipeline/diagnostics.ts";
import { type Declared, declareServers } from "../../pipeline/mcp/declare.ts";
import { type InspectedServer, inspectServers } from "../../pipeline/mcp/inspect.ts";
import { someLines } from "./table.ts";
import { defineVerb } from "./verb.ts";

/** The flags that name a server, shared by `discover` and `call`. */
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

/** The flags and words of a command line as declarations. */
export function declaredBy(
  args: { config?: string; header: string[]; env: string[]; start_timeout_secs?: number },
  words: string[],
): Promise<Declared> {
  const { config, header: headers, env: variables, start_timeout_secs } = args;
  return declareServers({ words, headers, config, variables, start_timeout_secs });
}

/** The words that name a server, shared by `discover` and `call`. */
export const server_words = {
  name: "server",
  description: "A command and its arguments (after --), a URL, or with --config a name. MCP_URL when left out.",
  optional: true,
  variadic: true,
};

const args = z.strictObject({
  ...server_flags,
  out: z.string().optional().describe("File to write the catalog to.").meta({ examples: ["catalog.json"] }),
});

export default defineVerb({
  name: "discover",
  summary: "Show what an MCP server offers.",
  description:
    "Connects to one server, or to all of a file, and prints tools with a token estimate each, annotations, " +
    "resources, prompts, and what may go wrong: schemas that cannot be checked, twins, too many tools, renamed ones. " +
    "Server commands are started with a folder, HOME and environment of their own.",
  positional: [server_words],
  args,
  examples: [
    "hone discover -- npx -y @modelcontextprotocol/server-everything",
    "hone discover https://example.com/mcp --header 'Authorization: Bearer …'",
    "hone discover --config mcp.json files --out catalog.json",
  ],
  async run({ args, positional, out, err, signal, format }) {
    const declared = await declaredBy(args, positional);
    const { servers, failed, catalog } = await inspectServers(declared, signal);
    if (args.out !== undefined) await writeFile(args.out, JSON.stringify(catalog, null, 2) + "\n");
    if (format === "json") {
      const broken = failed.map(({ name, error }) => ({ name, error: error.diagnostics[0] }));
      out(JSON.stringify({ servers, failed: broken, schema_hash: catalog.schema_hash }, null, 2));
    } else {
      for (const server of servers) out(someLines(asText(server)));
      for (const { error } of failed) err(render(error.diagnostics, "text"));
    }
    return failed.length ? 1 : 0;
  },
});

function asText(server: InspectedServer): string {
  const { name, transport, protocol, implementation, tools, resources, prompts } = server;
  const hints = ({ annotations }: InspectedServer["tools"][number]) =>
    Object.entries(annotations).filter(([, on]) => on).map(([hint]) => hint).join(", ");
  const wide = Math.max(0, ...tools.map((tool) => tool.model_name.length));
  const indented = (title: string, lines: string[]) => lines.length ? [title, ...lines.map((line) => `  ${line}`)] : [];
  return [
    `${name}: ${implementation.name} ${implementation.version} over ${transport}, revision ${protocol}`,
    ...indented(
      `${tools.length} tools, about ${server.tokens} tokens`,
      tools.map((tool) =>
        `${tool.model_name.padEnd(wide)} ${String(tool.tokens).padStart(5)}  ${hints(tool)}`.trimEnd()
      ),
    ),
    ...indented(`${resources.length} resources`, resources.map(({ uri, name }) => `${uri} ${name}`)),
    ...indented(`${prompts.length} prompts`, prompts.map((prompt) => prompt.name)),
    ...indented("risks", server.risks),
  ].join("\n");
}
