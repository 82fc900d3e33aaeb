/**
 * How much work a JSON Schema is, before it is compiled: a small schema whose references fan out takes time exponential
 * in its size, or in the depth of a value.
 * @module
 */
import type { Json, JsonObject } from "../events.ts";
import { isObject } from "./json.ts";

/** A schema's size with its references followed, and how it refers to itself. */
export interface SchemaWeight {
  /** Number of its objects. */
  size: number;
  /** The same, counted again for each reference to them. */
  parts: number;
  /** Number of references to a schema that they are part of. */
  recursive: number;
  /** A reference to no part of the schema. */
  unresolved?: string;
}

/** Keywords whose values are data, or schemas that apply only where they are referred to. */
const APART = new Set(["enum", "const", "default", "examples", "$defs", "definitions"]);
/** Keywords whose values have names of the schema's own as keys. */
const NAMES = new Set(["properties", "patternProperties", "dependentSchemas", "dependencies", "dependentRequired"]);
const REFERENCES = new Set(["$ref", "$dynamicRef", "$recursiveRef"]);
const MAX_DEPTH = 500;

/** Weighs a schema. Throws a RangeError for one that nests too deep. */
export function schemaWeight(schema: JsonObject): SchemaWeight {
  const named = namedParts(schema);
  const known = new Map<JsonObject, Counts>();
  const open = new Set<JsonObject>();
  let unresolved: string | undefined;
  const referenced = (to: string): Json | undefined => {
    const target = to.startsWith("#/") ? atPointer(schema, to) : named.get(to);
    if (target === undefined) unresolved ??= to;
    return target;
  };
  const count = (value: Json | undefined, depth: number, names: boolean): Counts => {
    if (depth > MAX_DEPTH) throw new RangeError(`it is nested more than ${MAX_DEPTH} deep`);
    if (Array.isArray(value)) return sum(value.map((inner) => count(inner, depth + 1, false)));
    if (!isObject(value)) return { parts: 0, recursive: 0 };
    if (open.has(value)) return { parts: 1, recursive: 1 };
    let counts = known.get(value);
    if (!counts) {
      open.add(value);
      const inner = Object.entries(value).map(([key, one]) => {
        if (names) return count(one, depth + 1, false);
        if (REFERENCES.has(key) && typeof one === "string") return count(referenced(one), depth + 1, false);
        return count(APART.has(key) ? undefined : one, depth + 1, NAMES.has(key));
      });
      counts = sum([{ parts: 1, recursive: 0 }, ...inner]);
      open.delete(value);
      known.set(value, counts);
    }
    return counts;
  };
  const counts = count(schema, 0, false);
  return { ...counts, size: known.size, ...(unresolved !== undefined && { unresolved }) };
}

type Counts = Pick<SchemaWeight, "parts" | "recursive">;

function sum(all: Counts[]): Counts {
  return all.reduce(
    (a, b) => ({ parts: a.parts + b.parts, recursive: a.recursive + b.recursive }),
    { parts: 0, recursive: 0 },
  );
}

/** Parts by the references that name them: `#`, `#anchor`, an `$id`. */
function namedParts(schema: JsonObject): Map<string, JsonObject> {
  const named = new Map([["#", schema]]);
  const walk = (value: Json, depth: number) => {
    if (depth > MAX_DEPTH || typeof value !== "object" || value === null) return;
    if (isObject(value)) {
      for (const key of ["$anchor", "$dynamicAnchor"]) {
        if (typeof value[key] === "string") named.set(`#${value[key]}`, value);
      }
      for (const key of ["$id", "id"]) if (typeof value[key] === "string") named.set(value[key], value);
    }
    for (const inner of Object.values(value)) walk(inner, depth + 1);
  };
  walk(schema, 0);
  return named;
}

function atPointer(schema: JsonObject, pointer: string): Json | undefined {
  let at: Json | undefined = schema;
  for (const part of pointer.slice(2).split("/")) {
    const key = decoded(part).replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as JsonObject)[key];
  }
  return at;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** How deep a value nests. */
export function depthOf(value: Json): number {
  let depth = 0;
  for (let level: Json[] = [value]; level.length > 0; depth++) {
    level = level.flatMap((one) => typeof one === "object" && one !== null ? Object.values(one) : []);
  }
  return depth - 1;
}
