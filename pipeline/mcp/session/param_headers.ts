/**
 * `x-mcp-header` in a tool's input schema (revision 2026-07-28): arguments that streamable HTTP repeats as headers. A
 * tool whose declarations break the rules must not be called there, so it is never offered.
 * @module
 */
import type { Json, JsonObject } from "../../events.ts";

const KEY = "x-mcp-header";
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const TYPES: ReadonlySet<unknown> = new Set(["string", "integer", "boolean"]);

/** What is wrong with a schema's declarations, or null. */
export function headerProblem(schema: JsonObject): string | null {
  const seen = new Set<string>();
  const visit = (node: Json | undefined, path: string[], reachable: boolean): string | null => {
    if (typeof node !== "object" || node === null) return null;
    if (!Array.isArray(node) && KEY in node) {
      const problem = reachable && path.length > 0 ? declarationProblem(node, seen) : "is not on a property";
      if (problem) return `${KEY} of ${path.join(".") || "the schema itself"} ${problem}`;
    }
    for (const [key, inner] of Object.entries(node)) {
      if (key === "properties" && !Array.isArray(node)) {
        for (const [name, property] of Object.entries(inner ?? {})) {
          const problem = visit(property, [...path, name], reachable);
          if (problem) return problem;
        }
        continue;
      }
      if (DATA.has(key)) continue;
      const problem = visit(inner, [...path, key], false);
      if (problem) return problem;
    }
    return null;
  };
  return visit(schema, [], true);
}

/** Keywords whose values are data, not schemas. */
const DATA: ReadonlySet<string> = new Set([KEY, "default", "const", "enum", "examples", "required"]);

function declarationProblem(node: JsonObject, seen: Set<string>): string | null {
  const name = node[KEY];
  if (typeof name !== "string" || !TOKEN.test(name)) return "is not the name of a header";
  if (!TYPES.has(node.type)) return "is on what is no string, integer or boolean";
  if (seen.has(name.toLowerCase())) return `is ${JSON.stringify(name)} a second time`;
  seen.add(name.toLowerCase());
  return null;
}
