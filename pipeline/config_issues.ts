/**
 * Turns what zod found into what a person reads: one diagnostic for each problem, at its place in the file, with the
 * field that was probably meant. Works for the pipeline's schema and for every plugin's own.
 * @module
 */
import { z } from "zod";
import { config, type Diagnostic } from "./diagnostics.ts";
import { fieldName, type Path, type Source, valueAt } from "./yaml_source.ts";

type Issue = z.core.$ZodIssue;
type JsonSchema = { [key: string]: unknown };

const TYPE_NAMES: Record<string, string> = {
  string: "a string",
  number: "a number",
  int: "an integer",
  boolean: "true or false",
  array: "a list",
  object: "a map",
  record: "a map",
};

/** Diagnostics of a failed parse; `base` is where in the file the parsed value stands. */
export function explain(issues: readonly Issue[], source: Source, schema: z.ZodType, base: Path = []): Diagnostic[] {
  const fields = memo(() => jsonSchema(schema));
  const all = issues.flatMap((issue) => one(issue, source, fields, base, []));
  return all.filter((d, i) => i === all.findIndex(({ message, line }) => message === d.message && line === d.line))
    .filter((d) => !all.some((other) => isMisspelling(other, d)));
}

/** A field that is missing because it is misspelt is one problem, not two. */
function isMisspelling(unknown: Diagnostic, missing: Diagnostic): boolean {
  if (unknown.code !== "UNKNOWN_FIELD" || missing.code !== "MISSING_FIELD") return false;
  const parent = / in (\S+): did you mean/.exec(unknown.message)?.[1];
  const meant = /did you mean "([^"]+)"/.exec(unknown.message)?.[1];
  return missing.message.startsWith(`${parent ? parent + "." : ""}${meant} is missing`);
}

/** The schema as JSON Schema, as people write it; parts that JSON Schema cannot say are left open. */
export function jsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
}

function one(issue: Issue, source: Source, schema: () => JsonSchema, base: Path, prefix: Path): Diagnostic[] {
  const inner = [...prefix, ...(issue.path as Path)];
  const path = [...base, ...inner];
  const field = fieldName(path);
  const got = valueAt(source.raw, path);
  const missing = got === undefined && path.length > 0;
  const at = (d: Diagnostic, side?: "key") => [source.at(d, path, side)];
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) =>
        source.at(config.unknown_field(key, field, fieldsAt(schema(), inner)), [...path, key], "key")
      );
    case "invalid_type": {
      const wanted = TYPE_NAMES[issue.expected] ?? issue.expected;
      return at(missing ? config.missing_field(field, wanted) : config.wrong_type(field, got, wanted));
    }
    case "invalid_value": {
      const values = [...issue.values];
      const wanted = values.map((value) => JSON.stringify(value)).join(" or ");
      return at(missing ? config.missing_field(field, wanted) : config.wrong_value(field, got, values));
    }
    case "too_small":
      return at(
        config.out_of_range(field, got, size(issue.origin, issue.inclusive ? "at least" : "more than", issue.minimum)),
      );
    case "too_big":
      return at(
        config.out_of_range(field, got, size(issue.origin, issue.inclusive ? "at most" : "less than", issue.maximum)),
      );
    case "invalid_union":
      return union(issue, source, schema, base, inner) ?? at(config.invalid_value(field, got, issue.message));
    case "invalid_format":
      if (issue.format === "url") return at(config.out_of_range(field, got, "an http:// or https:// address"));
      return at(config.invalid_value(field, got, reason(issue.message)));
    case "invalid_key":
      return at(config.invalid_value(field, path.at(-1), reason(issue.issues[0]?.message ?? issue.message)), "key");
    default:
      return at(config.invalid_value(field || "the value", got, reason(issue.message)));
  }
}

/** The branch that fits best speaks; where every branch only wants another type, they speak together. */
function union(
  issue: z.core.$ZodIssueInvalidUnion,
  source: Source,
  schema: () => JsonSchema,
  base: Path,
  inner: Path,
): Diagnostic[] | undefined {
  const branches = issue.errors.filter((issues) => issues.length > 0);
  const path = [...base, ...inner];
  const types = branches.map(([first, ...more]) =>
    more.length === 0 && first!.code === "invalid_type" && first!.path.length === 0 ? first!.expected : undefined
  );
  if (branches.length > 1 && types.every((type) => type !== undefined)) {
    const wanted = types.map((type) => TYPE_NAMES[type!] ?? type).join(" or ");
    const got = valueAt(source.raw, path);
    const field = fieldName(path);
    return [
      source.at(got === undefined ? config.missing_field(field, wanted) : config.wrong_type(field, got, wanted), path),
    ];
  }
  const best = branches.toSorted((a, b) => a.length - b.length)[0];
  return best?.flatMap((each) => one(each, source, schema, base, inner));
}

/** "at least 1", "at least 1 character", "at most 3 entries". */
function size(origin: string, relation: string, bound: number | bigint): string {
  const unit = { string: ["character", "characters"], array: ["entry", "entries"] }[origin];
  return `${relation} ${bound}${unit ? ` ${Number(bound) === 1 ? unit[0] : unit[1]}` : ""}`;
}

function reason(message: string): string {
  return message.replace(/^Invalid (string|input): /, "");
}

/** Names of the fields that may stand at a path. */
export function fieldsAt(schema: JsonSchema, path: Path): string[] {
  let at = [schema];
  for (const key of path) at = at.flatMap(branches).flatMap((branch) => step(branch, key));
  return [...new Set(at.flatMap(branches).flatMap((branch) => Object.keys(branch.properties ?? {})))];
}

function step(schema: JsonSchema, key: string | number): JsonSchema[] {
  const next = typeof key === "number"
    ? schema.items
    : (schema.properties as JsonSchema | undefined)?.[key] ?? schema.additionalProperties;
  return next && typeof next === "object" ? [next as JsonSchema] : [];
}

function branches(schema: JsonSchema): JsonSchema[] {
  const parts = (schema.anyOf ?? schema.oneOf ?? schema.allOf) as JsonSchema[] | undefined;
  return parts ? parts.flatMap(branches) : [schema];
}

function memo<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}
