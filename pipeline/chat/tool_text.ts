/**
 * How a tool is described to a model: a line of text (every format that hone renders itself), or a reduced JSON Schema
 * (`tool_schemas: compact`). Names, types, required arguments and enums are kept; descriptions are reduced to their
 * first sentence; the rest is removed. Arguments are always checked with the server's own schema instead.
 * @module
 */
import type { Json, JsonObject, ToolSpec } from "../events.ts";
import { asObject } from "../common/json.ts";
import type { ToolFormat } from "../plugin.ts";

const TOOL_CHARS = 120;
const ARGUMENT_CHARS = 60;
/** What a token is taken for where nothing has counted it. */
export const CHARS_PER_TOKEN = 4;
/** Deeper levels of a schema are not shown. */
const MAX_DEPTH = 6;

/** Text estimated in tokens, from its characters. */
export function estimateText(text: string): number {
  return Math.ceil(text.length / CHARS_PER_TOKEN);
}

/** Tokens of one tool as a policy is shown it, estimated. */
export function estimateTool(tool: ToolSpec, format: ToolFormat, schemas: "full" | "compact" = "full"): number {
  if (format !== "native") return estimateText(`${toolLine(tool)}\n`);
  const { model_name, description, input_schema } = schemas === "compact" ? compactTool(tool) : tool;
  const { $schema: _, ...parameters } = input_schema;
  return estimateText(JSON.stringify({ name: model_name, description, parameters }));
}

/** The tool with a shortened description and schema, for a chat template that renders it. */
export function compactTool(tool: ToolSpec): ToolSpec {
  const { $defs, definitions } = tool.input_schema;
  const compacted = compactSchema(tool.input_schema, 0);
  const named = {
    ...($defs && { $defs: mapped($defs, 0) }),
    ...(definitions && { definitions: mapped(definitions, 0) }),
  };
  return {
    ...tool,
    description: firstSentence(tool.description, TOOL_CHARS),
    input_schema: { ...compacted, ...named },
  };
}

const LISTS = ["anyOf", "oneOf", "allOf", "prefixItems"];

function compactSchema(schema: JsonObject, depth: number): JsonObject {
  if (depth > MAX_DEPTH) return {};
  const kept: JsonObject = {};
  for (const key of ["type", "enum", "const", "$ref"]) if (key in schema) kept[key] = schema[key]!;
  const described = depth > 0 && typeof schema.description === "string" ? schema.description : "";
  if (described.trim()) kept.description = firstSentence(described, ARGUMENT_CHARS);
  if (asObject(schema.properties)) kept.properties = mapped(schema.properties, depth);
  if (Array.isArray(schema.required) && schema.required.length > 0) kept.required = schema.required;
  if (asObject(schema.items)) kept.items = compactSchema(asObject(schema.items)!, depth + 1);
  if (asObject(schema.additionalProperties)) {
    kept.additionalProperties = compactSchema(asObject(schema.additionalProperties)!, depth + 1);
  }
  for (const key of LISTS) {
    const list = schema[key];
    if (Array.isArray(list)) kept[key] = list.map((one) => compactSchema(asObject(one) ?? {}, depth + 1));
  }
  return kept;
}

function mapped(schemas: Json | undefined, depth: number): JsonObject {
  return Object.fromEntries(
    Object.entries(asObject(schemas) ?? {}).map(([name, one]) => [name, compactSchema(asObject(one) ?? {}, depth + 1)]),
  );
}

/** The tool on one line: `name(argument, other?: type): First sentence`. */
export function toolLine({ model_name, description, input_schema }: ToolSpec): string {
  const line = `${model_name}(${fields(input_schema, { root: input_schema, depth: 0 })})`;
  const summary = firstSentence(description, TOOL_CHARS);
  return summary ? `${line}: ${summary}` : line;
}

interface Place {
  root: JsonObject;
  depth: number;
}

function fields(schema: JsonObject, place: Place): string {
  const required = new Set(Array.isArray(schema.required) ? schema.required : []);
  return Object.entries(asObject(schema.properties) ?? {}).map(([key, inner]) => {
    const type = typeName(asObject(inner) ?? {}, place);
    return `${key}${required.has(key) ? "" : "?"}${type && `: ${type}`}`;
  }).join(", ");
}

/** Empty for text: that is what arguments mostly are, and goes without saying. */
function typeName(schema: JsonObject, place: Place): string {
  const inner = { ...place, depth: place.depth + 1 };
  if (inner.depth > MAX_DEPTH) return "";
  if (Array.isArray(schema.enum)) return schema.enum.map((value) => JSON.stringify(value)).join("|");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (typeof schema.$ref === "string") return typeName(resolved(schema.$ref, place.root), inner);
  const choices = Array.isArray(schema.anyOf) ? schema.anyOf : Array.isArray(schema.oneOf) ? schema.oneOf : undefined;
  if (choices && schema.type === undefined) {
    const names = choices.map((one) => typeName(asObject(one) ?? {}, inner) || "string").filter((name) =>
      name !== "null"
    );
    return names.length === 1 && names[0] === "string" ? "" : [...new Set(names)].join("|");
  }
  if (schema.type === "array") {
    const item = typeName(asObject(schema.items) ?? {}, inner) || "string";
    return item.includes("|") ? `(${item})[]` : `${item}[]`;
  }
  const nested = fields(schema, inner);
  if (nested) return `{${nested}}`;
  return schema.type === undefined || schema.type === "string" ? "" : [schema.type].flat().join("|");
}

/** What a reference within the schema points to; empty where it points elsewhere. */
function resolved(reference: string, root: JsonObject): JsonObject {
  if (reference === "#") return root;
  if (!reference.startsWith("#/")) return {};
  let at: Json | undefined = root;
  for (const part of reference.slice(2).split("/")) {
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
    const here = asObject(at);
    at = here && Object.hasOwn(here, key) ? here[key] : undefined;
  }
  return asObject(at) ?? {};
}

function firstSentence(description: string, chars: number): string {
  const line = description.trim().split("\n")[0]!;
  const sentence = /^(.*?)\.(\s|$)/.exec(line)?.[1] ?? line;
  return sentence.length > chars ? `${sentence.slice(0, chars - 3)}…` : sentence;
}
