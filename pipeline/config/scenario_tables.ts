/**
 * Output generated from the schema of scenarios: JSON Schema for editors, and the Markdown page of every field.
 * @module
 */
import { stringify } from "yaml";
import type { ScenarioPart } from "../plugin.ts";
import { scenarioSchema } from "../scenario/scenario_schema.ts";
import { jsonSchema } from "./issues.ts";
import { type FieldRow, markdownTable, schemaRows } from "./schema_tables.ts";

type Schema = Record<string, unknown>;

/** JSON Schema of a file of scenarios: a list, or a map with the list under `scenarios`. */
export function scenarioJsonSchema(parts: readonly ScenarioPart[]): Schema {
  const { $schema, $defs, ...scenario } = jsonSchema(scenarioSchema(parts));
  // A pipeline may have judges of its own.
  const { expect } = scenario.properties as Record<string, Schema>;
  if (expect) expect.additionalProperties = {};
  const list = { type: "array", items: { $ref: "#/$defs/scenario" } };
  return {
    $schema,
    title: "hone scenarios",
    anyOf: [list, {
      type: "object",
      properties: { scenarios: { ...list, description: "The scenarios." } },
      required: ["scenarios"],
    }],
    $defs: { ...$defs as Schema, scenario },
  };
}

/** A field of a scenario. */
export interface ScenarioField {
  /** The field itself, as in a table of all. */
  row: FieldRow;
  /** The fields in it. */
  inner: FieldRow[];
  /** Valid values. */
  examples: unknown[];
}

/** The top-level fields of a scenario, in order. */
export function scenarioFields(parts: readonly ScenarioPart[]): ScenarioField[] {
  const schema = jsonSchema(scenarioSchema(parts)) as Schema & { properties: Record<string, Schema> };
  const rows = schemaRows(schema);
  return Object.entries(schema.properties).map(([name, { examples = [] }]) => ({
    row: rows.find(({ field }) => field === name)!,
    inner: rows.filter(({ field }) => new RegExp(`^${name}[.[]`).test(field)),
    examples: examples as unknown[],
  }));
}

/** One section for each field: its description, the fields in it, and examples. */
export function scenarioSections(parts: readonly ScenarioPart[]): string {
  return scenarioFields(parts).map(
    ({ row: { field, type, default: standard, required, description }, inner, examples }) => {
      const kind = [type, required ? "required" : standard && `default \`${standard}\``].filter(Boolean).join(", ");
      return [
        `## ${field}`,
        `${description} (${kind})`,
        ...(inner.length > 0 ? [markdownTable(inner)] : []),
        ...examples.map((value) =>
          `\`\`\`yaml\n${stringify({ [field]: value }, { lineWidth: 110 }).trimEnd()}\n\`\`\``
        ),
      ].join("\n\n");
    },
  ).join("\n\n");
}
