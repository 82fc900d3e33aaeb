/** `hone discover`: what a server offers, with estimates and risks; writes a catalog. @module */
import { readFile, writeFile } from "node:fs/promises";
import { z } from "zod";
import { config, counted, HoneError, mcp, render } from "../../pipeline/diagnostics/mod.ts";
import type { Catalog } from "../../pipeline/events.ts";
import { type Declared, declareServers } from "../../pipeline/mcp/declared/declare.ts";
import { describeDrift } from "../../pipeline/mcp/catalog/drift.ts";
import { type InspectedServer, inspectServers } from "../../pipeline/mcp/catalog/inspect.ts";
import { someLines } from "../cli/table.ts";
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
  command: true,
};

const args = z.strictObject({
  ...server_flags,
  out: z.string().optional().describe("File to write the catalog to.").meta({ examples: ["catalog.json"] }),
  against: z.string().optional().describe("Catalog of an earlier `--out`: say what changed since; exit code 1 if any.")
    .meta({ examples: ["catalog.json"] }),
});

export default defineVerb({
  name: "discover",
  summary: "Show what an MCP server offers.",
  description:
    "Connects to one server, or to all of a file, and prints tools with a token estimate each, annotations, " +
    "resources, prompts, and what may go wrong: schemas that cannot be checked, twins, too many tools, renamed ones, " +
    "texts that give the model orders. " +
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
    const changes = args.against === undefined ? undefined : describeDrift(await readCatalog(args.against), catalog);
    if (args.out !== undefined) await writeFile(args.out, JSON.stringify(catalog, null, 2) + "\n");
    if (format === "json") {
      const broken = failed.map(({ name, error }) => ({ name, error: error.diagnostics[0] }));
      const { schema_hash } = catalog;
      out(JSON.stringify({ servers, failed: broken, schema_hash, ...(changes && { changes }) }, null, 2));
    } else {
      for (const server of servers) out(someLines(asText(server)));
      if (changes) out(someLines(asChanges(args.against!, changes)));
      for (const { error } of failed) err(render(error.diagnostics, "text"));
    }
    return failed.length || changes?.length ? 1 : 0;
  },
});

async function readCatalog(path: string): Promise<Catalog> {
  const text = await readFile(path, "utf8").catch((error) => {
    throw new HoneError(config.file_unreadable(path, error.message));
  });
  const found = catalog_shape.safeParse(parsed(text));
  if (!found.success) throw new HoneError(mcp.not_a_catalog(path));
  return found.data as unknown as Catalog;
}

/** As much of a catalog as is compared. */
const catalog_shape = z.looseObject({
  servers: z.array(z.looseObject({ name: z.string(), implementation: z.looseObject({ version: z.string() }) })),
  tools: z.array(z.looseObject({
    server: z.string(),
    name: z.string(),
    description: z.string(),
    input_schema: z.record(z.string(), z.json()),
  })),
  schema_hash: z.string(),
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function asChanges(path: string, changes: string[]): string {
  if (changes.length === 0) return `nothing changed since ${path}`;
  return [`changed since ${path}`, ...changes.map((line) => `  ${line}`)].join("\n");
}

function asText(server: InspectedServer): string {
  const { name, transport, protocol, implementation, tools, resources, resource_templates, prompts } = server;
  const hints = ({ annotations }: InspectedServer["tools"][number]) =>
    Object.entries(annotations).filter(([, on]) => on).map(([hint]) => hint).join(", ");
  const wide = Math.max(0, ...tools.map((tool) => tool.model_name.length));
  const indented = (title: string, lines: string[]) => lines.length ? [title, ...lines.map((line) => `  ${line}`)] : [];
  return [
    `${name}: ${implementation.name} ${implementation.version} over ${transport}, revision ${protocol}`,
    ...indented(
      `${counted(tools.length, "tool")}, about ${server.tokens} tokens (${server.compact_tokens} compact)`,
      tools.map((tool) =>
        `${tool.model_name.padEnd(wide)} ${String(tool.tokens).padStart(5)}  ${hints(tool)}`.trimEnd()
      ),
    ),
    ...indented(counted(resources.length, "resource"), resources.map(({ uri, name }) => `${uri} ${name}`)),
    ...indented(
      counted(resource_templates.length, "resource template"),
      resource_templates.map(({ uri_template, name }) => `${uri_template} ${name}`),
    ),
    ...indented(
      counted(prompts.length, "prompt"),
      prompts.map(({ name, arguments: given }) =>
        `${name}(${given.map((one) => `${one.name}${one.required ? "" : "?"}`).join(", ")})`
      ),
    ),
    ...indented("risks", server.risks),
  ].join("\n");
}
