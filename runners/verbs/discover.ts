/** `hone discover`: what a server offers, with token estimates and risks; writes a catalog. @module */
import { z } from "zod";
import { textOf } from "../../pipeline/common/read_text.ts";
import { writeText } from "../../pipeline/common/write_aside.ts";
import { counted, HoneError, mcp, render } from "../../pipeline/diagnostics/mod.ts";
import type { Catalog } from "../../pipeline/events.ts";
import { describeDrift } from "../../pipeline/mcp/catalog/drift.ts";
import { type InspectedServer, inspectServers } from "../../pipeline/mcp/catalog/inspect.ts";
import { declaredBy, server_flags, server_words } from "./named_server.ts";
import { diagnostic } from "./results.ts";
import { someLines } from "./table.ts";
import { defineVerb, indented } from "./verb.ts";

const args = z.strictObject({
  ...server_flags,
  out: z.string().optional().describe("File to write the catalog to.").meta({ examples: ["catalog.json"] }),
  against: z.string().optional().describe(
    "Catalog from an earlier `--out`: report what has changed since, and exit with 1 if anything has.",
  )
    .meta({ examples: ["catalog.json"] }),
});

const tool = z.object({
  name: z.string().describe("As the server lists it."),
  model_name: z.string().describe("As models see it."),
  description: z.string(),
  input_schema: z.record(z.string(), z.json()),
  output_schema: z.record(z.string(), z.json()).optional(),
  annotations: z.object({
    read_only: z.boolean().optional(),
    destructive: z.boolean().optional(),
    idempotent: z.boolean().optional(),
    open_world: z.boolean().optional(),
  }).describe("The server's annotations."),
  tokens: z.number().describe("Estimated tokens of the tool's definition in a prompt."),
});

const server: z.ZodType<InspectedServer> = z.object({
  name: z.string(),
  transport: z.enum(["stdio", "http", "sse"]),
  protocol: z.string().describe("MCP protocol revision."),
  implementation: z.object({ name: z.string(), version: z.string() }),
  instructions: z.string().optional(),
  resources: z.array(z.object({
    uri: z.string(),
    name: z.string(),
    description: z.string().optional(),
    mime_type: z.string().optional(),
  })),
  resource_templates: z.array(
    z.object({ uri_template: z.string(), name: z.string(), description: z.string().optional() }),
  ),
  prompts: z.array(z.object({
    name: z.string(),
    description: z.string().optional(),
    arguments: z.array(z.object({ name: z.string(), required: z.boolean() })),
  })),
  problems: z.array(z.string()).optional().describe("Lists that the server advertises but failed to return."),
  tools: z.array(tool),
  tokens: z.number().describe("Estimated tokens of all its tools."),
  compact_tokens: z.number().describe("The same with agent.tool_schemas: compact."),
  risks: z.array(z.string()).describe("Potential problems with these tools."),
});

export default defineVerb({
  name: "discover",
  summary: "Show what an MCP server offers.",
  description:
    "Connects to one server, or to all servers in a file, and prints its tools with token estimates and annotations, its " +
    "resources and prompts, and potential problems: schemas that cannot be checked, near-duplicate tools, too many " +
    "tools, renamed tools, descriptions that instruct the model. " +
    "Server commands are started with a separate folder, HOME and environment; those of a file once they are approved.",
  effect: "runs",
  positional: [server_words],
  args,
  result: z.object({
    servers: z.array(server),
    failed: z.array(z.object({ name: z.string(), error: diagnostic })).describe(
      "Servers that cannot be used, and why.",
    ),
    schema_hash: z.string().describe("Hash of all names and schemas; unchanged if none of them changed."),
    changes: z.array(z.string()).optional().describe("With `against`: what has changed."),
  }),
  examples: [
    "hone discover -- npx -y @modelcontextprotocol/server-everything",
    "hone discover https://example.com/mcp --header 'Authorization: Bearer …'",
    "hone discover --config mcp.json files --out catalog.json",
  ],
  async run(call) {
    const { args, signal } = call;
    const declared = await declaredBy(call);
    const { servers, failed, catalog } = await inspectServers(declared, signal);
    const changes = args.against === undefined ? undefined : describeDrift(await readCatalog(args.against), catalog);
    if (args.out !== undefined) await writeText(args.out, JSON.stringify(catalog, null, 2) + "\n");
    const broken = failed.map(({ name, error }) => ({ name, error: error.diagnostics[0]! }));
    return { servers, failed: broken, schema_hash: catalog.schema_hash, ...(changes && { changes }) };
  },
  formats: { json: indented },
  text: ({ servers, changes }, { args }) =>
    someLines([...servers.map(asText), ...(changes ? [asChanges(args.against!, changes)] : [])].join("\n")),
  remarks: ({ failed }) => failed.map(({ error }) => render([error], "text")),
  exit: ({ failed, changes }) => failed.length || changes?.length ? 1 : 0,
});

async function readCatalog(path: string): Promise<Catalog> {
  const text = await textOf(path);
  const found = catalog_shape.safeParse(parsed(text));
  if (!found.success) throw new HoneError(mcp.not_a_catalog(path));
  return found.data as unknown as Catalog;
}

/** The parts of a catalog that are compared. */
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
