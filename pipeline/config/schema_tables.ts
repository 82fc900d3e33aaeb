/**
 * Output generated from the zod schemas: JSON Schema for editors, and the Markdown tables of the documentation.
 * @module
 */
import type { z } from "zod";
import { jsonSchema } from "./issues.ts";
import { pipeline_schema } from "./pipeline_schema.ts";
import type { Plugin } from "../plugin.ts";

type Schema = Record<string, unknown>;

/** JSON Schema of a pipeline file, with the settings of the given plugins by their `use:`. */
export function pipelineJsonSchema(plugins: Record<string, Plugin>): Schema {
  const schema = structuredClone(jsonSchema(pipeline_schema)) as Schema & { properties: Record<string, Schema> };
  const stage = (schema.properties.stages as { items: Schema & { properties: Record<string, Schema> } }).items;
  const { description, examples } = stage.properties.use!;
  stage.properties.use = {
    description,
    examples,
    anyOf: [{ enum: Object.keys(plugins) }, { type: "string", minLength: 1 }],
  };
  stage.allOf = Object.entries(plugins).map(([use, plugin]) => ({
    if: { properties: { use: { const: use } } },
    then: { properties: { with: { ...bare(jsonSchema(plugin.config)), description: plugin.summary } } },
  }));
  const { description: about, default: none, ...servers } = schema.properties.servers!;
  schema.properties.servers = {
    description: about,
    default: none,
    anyOf: [servers, { type: "string", pattern: "\\.json$" }],
  };
  return { ...schema, title: "hone pipeline" };
}

function bare({ $schema: _, ...schema }: Schema): Schema {
  return schema;
}

/** One row of a table of fields. */
export interface FieldRow {
  field: string;
  type: string;
  /** JSON, or empty if the field is required or has no default. */
  default: string;
  required: boolean;
  description: string;
}

/** All fields of a schema, nested ones by dotted name. */
export function fieldRows(schema: z.ZodType): FieldRow[] {
  return schemaRows(jsonSchema(schema));
}

/** The same of a JSON Schema. */
export function schemaRows(schema: Schema): FieldRow[] {
  return rows(schema, "");
}

function rows(schema: Schema, prefix: string): FieldRow[] {
  const required = new Set((schema.required ?? []) as string[]);
  const own = Object.entries((schema.properties ?? {}) as Record<string, Schema>).flatMap(([key, field]) => {
    const name = prefix + key;
    const row: FieldRow = {
      field: name,
      type: typeText(field),
      default: "default" in field && !isGroup(field) ? JSON.stringify(field.default) : "",
      required: required.has(key),
      description: (field.description as string | undefined) ?? "",
    };
    return [row, ...nested(field, name)];
  });
  const branches = (schema.anyOf ?? []) as Schema[];
  const all = [...own, ...branches.flatMap((branch) => rows(branch, prefix))];
  return all.filter((row, i) => all.findIndex(({ field }) => field === row.field) === i);
}

function nested(field: Schema, name: string): FieldRow[] {
  const entry = field.additionalProperties;
  return [
    ...rows(field, `${name}.`),
    ...(field.type === "array" ? rows((field.items || {}) as Schema, `${name}[].`) : []),
    ...(entry !== null && typeof entry === "object" ? rows(entry as Schema, `${name}.<name>.`) : []),
  ];
}

function isGroup(field: Schema): boolean {
  return "properties" in field;
}

/** A short name of a type: `integer`, `"a" \| "b"`, `list of string`. */
function typeText(field: Schema): string {
  if (Array.isArray(field.enum)) return field.enum.map((value) => JSON.stringify(value)).join(" | ");
  if ("const" in field) return JSON.stringify(field.const);
  if (Array.isArray(field.anyOf)) return [...new Set((field.anyOf as Schema[]).map(typeText))].join(" | ");
  if (Array.isArray(field.prefixItems)) return `[${(field.prefixItems as Schema[]).map(typeText).join(", ")}]`;
  if (field.type === "array") return `list of ${typeText((field.items ?? {}) as Schema)}`;
  return field.type === "object" ? "map" : (field.type as string | undefined) ?? "any";
}

/** The rows as a Markdown table. */
export function markdownTable(table: FieldRow[]): string {
  if (table.length === 0) return "No settings.";
  const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
  const code = (text: string) => text ? `\`${cell(text)}\`` : "";
  const lines = table.map((row) =>
    `| ${code(row.field)} | ${code(row.type)} | ${row.required ? "required" : code(row.default)} | ${
      cell(row.description)
    } |`
  );
  return ["| field | type | default | description |", "|---|---|---|---|", ...lines].join("\n");
}
