/**
 * The changes between two catalogs, as text: added and removed tools, arguments added, removed, of another type or
 * newly required, descriptions, results, annotations, server versions. Empty if the schema hashes are equal; otherwise
 * lists every difference. Catalogs stored by versions that left annotations out of the hash are compared without it.
 * @module
 */
import type { Catalog, CatalogServer, Json, JsonObject, ToolSpec } from "../../events.ts";
import { asObject, canonical } from "../../common/json.ts";
import { isEarlierHash } from "./catalog.ts";

const SHOWN_CHARS = 60;
const MAX_DEPTH = 12;

/** What changed from one catalog to another, one line each; empty where the hashes agree. */
export function describeDrift(before: Catalog, after: Catalog): string[] {
  if (before.schema_hash === after.schema_hash) return [];
  const changed = toolChanges(before.tools, after.tools);
  if (changed.length === 0 && isEarlierHash(before.schema_hash, after.tools)) return [];
  const lines = [...serverChanges(before.servers, after.servers), ...changed];
  return lines.length > 0 ? lines : ["the schema hash is another, for a reason that the tools do not show"];
}

function serverChanges(before: CatalogServer[], after: CatalogServer[]): string[] {
  return after.flatMap((server) => {
    const old = before.find(({ name }) => name === server.name)?.implementation;
    const { version } = server.implementation;
    return old && old.version !== version
      ? [`server ${server.name} is version ${escaped(version)}, was ${escaped(old.version)}`]
      : [];
  });
}

/** What changed from one list of tools to another, one line each. */
export function toolChanges(before: readonly ToolSpec[], after: readonly ToolSpec[]): string[] {
  const key = (tool: ToolSpec) => `${tool.server}/${escaped(tool.name)}`;
  const was = new Map(before.map((tool) => [key(tool), tool]));
  const is = new Map(after.map((tool) => [key(tool), tool]));
  const gone = [...was.keys()].filter((name) => !is.has(name)).map((name) => `tool ${name} is gone`);
  const rest = [...is].flatMap(([name, tool]) => {
    const old = was.get(name);
    return old ? changesOf(old, tool).map((change) => `tool ${name}: ${change}`) : [`tool ${name} is new`];
  });
  return [...gone, ...rest];
}

function changesOf(old: ToolSpec, tool: ToolSpec): string[] {
  const described = old.description === tool.description
    ? []
    : [`description is ${shown(tool.description)}, was ${shown(old.description)}`];
  return [
    ...described,
    ...schemaChanges("argument", "", old.input_schema, tool.input_schema, 0),
    ...schemaChanges("result field", "", old.output_schema ?? {}, tool.output_schema ?? {}, 0),
    ...annotationChanges(old.annotations, tool.annotations),
  ];
}

/** None where a catalog was stored without them, as in an adapter. */
function annotationChanges(old?: ToolSpec["annotations"], now?: ToolSpec["annotations"]): string[] {
  const hints = ["read_only", "destructive", "idempotent", "open_world"] as const;
  return hints.flatMap((hint) =>
    old === undefined || now === undefined || old[hint] === now[hint]
      ? []
      : [`annotation ${hint} is ${shown(now[hint])}, was ${shown(old[hint])}`]
  );
}

/** `noun` names what the properties are; `path` is empty for the schema itself. */
function schemaChanges(noun: string, path: string, old: JsonObject, now: JsonObject, depth: number): string[] {
  if (canonical(old) === canonical(now)) return [];
  const at = path ? `${noun} ${path}` : `${noun}s`;
  if (depth > MAX_DEPTH) return [`${at}: changed`];
  const lines: string[] = [];
  for (const key of new Set([...Object.keys(old), ...Object.keys(now)])) {
    const [before, after] = [old[key], now[key]];
    if (canonical(before ?? null) === canonical(after ?? null)) continue;
    if (key === "properties") lines.push(...propertyChanges(noun, path, old, now, depth));
    else if (key === "required") lines.push(...requiredChanges(noun, path, old, now));
    else if (key === "items" && asObject(before) && asObject(after)) {
      lines.push(...schemaChanges(noun, `${path}[]`, asObject(before)!, asObject(after)!, depth + 1));
    } else lines.push(`${at}: ${escaped(key)} is ${shown(after)}, was ${shown(before)}`);
  }
  return lines;
}

function propertyChanges(noun: string, path: string, old: JsonObject, now: JsonObject, depth: number): string[] {
  const [was, is] = [asObject(old.properties) ?? {}, asObject(now.properties) ?? {}];
  const required = requiredOf(now);
  return [...new Set([...Object.keys(was), ...Object.keys(is)])].flatMap((name) => {
    const full = path ? `${path}.${escaped(name)}` : escaped(name);
    const [before, after] = [own(was, name), own(is, name)];
    if (after === undefined) return [`${noun} ${full} is gone`];
    if (before === undefined) {
      const kind = typeof asObject(after)?.type === "string" ? `${asObject(after)!.type}, ` : "";
      return [`${noun} ${full} is new (${kind}${required.has(name) ? "required" : "optional"})`];
    }
    return schemaChanges(noun, full, asObject(before) ?? {}, asObject(after) ?? {}, depth + 1);
  });
}

/** Only of properties that both have: what is new says itself whether it is required. */
function requiredChanges(noun: string, path: string, old: JsonObject, now: JsonObject): string[] {
  const [was, is] = [requiredOf(old), requiredOf(now)];
  const known = (name: string, schema: JsonObject) => own(asObject(schema.properties) ?? {}, name) !== undefined;
  return [...new Set([...was, ...is])].flatMap((name) => {
    if (was.has(name) === is.has(name) || known(name, old) !== known(name, now)) return [];
    return [
      `${noun} ${path ? `${path}.${escaped(name)}` : escaped(name)} is ${is.has(name) ? "now" : "no longer"} required`,
    ];
  });
}

function requiredOf(schema: JsonObject): Set<string> {
  return new Set(Array.isArray(schema.required) ? schema.required.map(String) : []);
}

function own(record: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** Names come from servers: they stay on their line. */
function escaped(name: string): string {
  return JSON.stringify(name).slice(1, -1);
}

function shown(value: Json | undefined): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS - 1)}…` : text;
}
