/**
 * The flags of a verb, derived from its zod schema: names, types, defaults, help. Used by the command line, its help
 * and completion.
 * @module
 */
import { z } from "zod";
import type { Verb } from "./verb.ts";

/** A flag, as help and completion show it. */
export interface Flag {
  name: string;
  key: string;
  type: "boolean" | "string";
  multiple: boolean;
  value: string;
  description: string;
  standard: unknown;
}

interface JsonSchema {
  type?: string;
  description?: string;
  default?: unknown;
  enum?: string[];
  items?: JsonSchema;
  anyOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
}

/** The flags of a verb. */
export function flagsOf(verb: Verb): Flag[] {
  const schema = z.toJSONSchema(verb.args, { io: "input", unrepresentable: "any" }) as JsonSchema;
  return Object.entries(schema.properties ?? {}).map(([key, field]) => {
    const { type, items, enum: values } = field.anyOf?.find(({ type }) => type === "array") ?? field;
    return {
      name: key.replaceAll("_", "-"),
      key,
      type: type === "boolean" ? "boolean" : "string",
      multiple: type === "array",
      value: values?.join("|") ?? items?.type ?? type ?? "value",
      description: field.description ?? "",
      standard: field.default,
    };
  });
}
