/**
 * Catalogs: what a server's lists become, how several servers' catalogs are joined (names that models accept, unique
 * over all), which tools of a server the agent is offered, and the hash that a run stores.
 * @module
 */
import { createHash } from "node:crypto";
import { estimateTool } from "../../chat/tool_text.ts";
import { HoneError, mcp } from "../../diagnostics/mod.ts";
import type { Catalog, CatalogServer, JsonObject, ToolSpec } from "../../events.ts";
import { asObject, canonical } from "../../common/json.ts";
import { modelNames } from "./names.ts";
import type { RawTool } from "../session/session.ts";

/** Names of tools that hone itself may offer to the agent. */
const BUILT_IN = ["complete_task"];
const ANY_OBJECT: JsonObject = { type: "object" };

/** The tools of a server to offer to the agent: names, or patterns with `*`. */
export interface ToolFilter {
  tools?: string[];
  deny?: string[];
  read_only_tools?: string[];
}

/** The catalog's form of a tool as its server listed it; `model_name` is final only in a joined catalog. */
export function toolSpec(server: string, raw: RawTool): ToolSpec {
  const hints = asObject(raw.annotations) ?? {};
  const hint = (name: string) => typeof hints[name] === "boolean" ? hints[name] as boolean : undefined;
  const output_schema = asObject(raw.outputSchema);
  const spec: ToolSpec = {
    server,
    name: raw.name,
    model_name: raw.name,
    description: typeof raw.description === "string" ? raw.description : "",
    input_schema: asObject(raw.inputSchema) ?? ANY_OBJECT,
    ...(output_schema && { output_schema }),
    annotations: known({
      read_only: hint("readOnlyHint"),
      destructive: hint("destructiveHint"),
      idempotent: hint("idempotentHint"),
      open_world: hint("openWorldHint"),
    }),
    tokens: 0,
  };
  return { ...spec, tokens: estimateTool(spec, "native") };
}

/**
 * The tools that the filter lets through. Throws where it names a tool, or allows a pattern, that the server does not
 * offer; a denied pattern may match nothing.
 */
export function filterTools(server: string, tools: ToolSpec[], filter: ToolFilter): ToolSpec[] {
  const { tools: allowed, deny = [], read_only_tools = [] } = filter;
  const offered = [...new Set(tools.map((tool) => tool.name))];
  const needed = [...allowed ?? [], ...deny.filter((name) => !name.includes("*")), ...read_only_tools];
  const missing = [...new Set(needed)].filter((pattern) => !offered.some((name) => matches(pattern, name)));
  if (missing.length) throw new HoneError(mcp.tools_missing(server, missing, offered));
  return tools.filter(({ name }) => (!allowed || isNamed(allowed, name)) && !isNamed(deny, name));
}

/** Whether one of the names or patterns means this tool; `*` stands for any text. */
export function isNamed(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => matches(pattern, name));
}

function matches(pattern: string, name: string): boolean {
  if (!pattern.includes("*")) return pattern === name;
  const [first, ...rest] = pattern.split("*");
  const last = rest.pop()!;
  if (name.length < first!.length + last.length || !name.startsWith(first!) || !name.endsWith(last)) return false;
  const end = name.length - last.length;
  let at = first!.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/** Joins catalogs of single servers into the run's: unique model names, tokens, hash. */
export function joinCatalogs(catalogs: Catalog[]): Catalog {
  const listed = catalogs.flatMap((catalog) => catalog.tools);
  const names = modelNames(listed, BUILT_IN);
  const tools = listed.map((tool, i) => ({ ...tool, model_name: names[i]! }));
  return { servers: catalogs.flatMap((catalog) => catalog.servers), tools, schema_hash: schemaHash(tools) };
}

/** A hash over names, descriptions, schemas and annotations of all tools, whatever their order. */
export function schemaHash(tools: readonly ToolSpec[]): string {
  return hashOf(tools.map((tool) => ({ ...identity(tool), annotations: { ...tool.annotations } })));
}

/** Whether a stored hash is the one that earlier versions made of these tools, without their annotations. */
export function isEarlierHash(stored: string, tools: readonly ToolSpec[]): boolean {
  const earlier = (some: readonly ToolSpec[]) => hashOf(some.map(identity));
  const servers = [...new Set(tools.map(({ server }) => server))];
  // An `exec:` discoverer joins the hashes of its servers.
  const joined = servers.map((name) => earlier(tools.filter(({ server }) => server === name))).join("+");
  return stored === earlier(tools) || stored === joined;
}

function hashOf(tools: JsonObject[]): string {
  return createHash("sha256").update(tools.map(canonical).sort().join("\n")).digest("hex");
}

function identity({ server, name, description, input_schema, output_schema }: ToolSpec): JsonObject {
  return { server, name, description, input_schema, output_schema: output_schema ?? null };
}

/** A server's catalog from its lists. */
export function serverCatalog(
  description: Pick<CatalogServer, "name" | "transport" | "protocol" | "implementation" | "instructions" | "problems">,
  lists: { tools: ToolSpec[]; resources: JsonObject[]; templates: JsonObject[]; prompts: JsonObject[] },
): Catalog {
  const server: CatalogServer = {
    ...description,
    resources: lists.resources.map((one) =>
      known({
        uri: text(one.uri),
        name: text(one.name),
        description: optional(one.description),
        mime_type: optional(one.mimeType),
      })
    ),
    resource_templates: lists.templates.map((one) =>
      known({ uri_template: text(one.uriTemplate), name: text(one.name), description: optional(one.description) })
    ),
    prompts: lists.prompts.map((one) =>
      known({
        name: text(one.name),
        description: optional(one.description),
        arguments: (Array.isArray(one.arguments) ? one.arguments : []).map((argument) => {
          const { name, required } = asObject(argument) ?? {};
          return { name: text(name), required: required === true };
        }),
      })
    ),
  };
  return joinCatalogs([{ servers: [server], tools: lists.tools, schema_hash: "" }]);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function optional(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** The record without its undefined fields. */
function known<T extends object>(record: T): T {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as T;
}
