/**
 * Turns zod issues into diagnostics: one for each problem, with its position in the file and the field that was
 * probably meant. Works for the pipeline's schema and for those of plugins.
 * @module
 */
import { z } from "zod";
import { config, type Diagnostic, nearest } from "../diagnostics/mod.ts";
import { fieldName, type Path, type Source, valueAt } from "./source.ts";

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

/** What a value was read from: the value as written, and positions in it. */
type Placed = Pick<Source, "raw" | "at">;

/** Diagnostics of a failed parse; `base` is the path of the parsed value in the file. */
export function explain(issues: readonly Issue[], source: Placed, schema: z.ZodType, base: Path = []): Diagnostic[] {
  const explainer = new Explainer(source, schema, base);
  const all = issues.flatMap((issue) => explainer.explain(issue, []));
  return all.filter((d, i) => i === all.findIndex(({ message, line }) => message === d.message && line === d.line))
    .filter((d) => !explainer.misspelt.has(explainer.missing.get(d) ?? ""));
}

/** The schema as JSON Schema of the input; parts that JSON Schema cannot express accept anything. */
export function jsonSchema(schema: z.ZodType): JsonSchema {
  return z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as JsonSchema;
}

class Explainer {
  /** Fields that an unknown one was probably meant to be: if they are also missing, that is not a separate problem. */
  readonly misspelt = new Set<string>();
  readonly missing = new Map<Diagnostic, string>();
  #fields: JsonSchema | undefined;

  constructor(readonly source: Placed, readonly schema: z.ZodType, readonly base: Path) {}

  explain(issue: Issue, prefix: Path): Diagnostic[] {
    const inner = [...prefix, ...(issue.path as Path)];
    const path = [...this.base, ...inner];
    const field = fieldName(path);
    const got = valueAt(this.source.raw, path);
    const at = (d: Diagnostic, side?: "key") => [this.source.at(d, path, side)];
    switch (issue.code) {
      case "unrecognized_keys":
        return issue.keys.map((key) => this.#unknown(key, inner));
      case "invalid_type":
        return this.#wanted(path, TYPE_NAMES[issue.expected] ?? issue.expected);
      case "invalid_value":
        if (got === undefined) {
          return this.#wanted(
            path,
            issue.values.map((value) => JSON.stringify(value)).join(" or "),
          );
        }
        return at(config.wrong_value(field, got, [...issue.values]));
      case "too_small":
        return at(
          config.out_of_range(
            field,
            got,
            bound(issue.origin, issue.inclusive ? "at least" : "more than", issue.minimum),
          ),
        );
      case "too_big":
        return at(
          config.out_of_range(
            field,
            got,
            bound(issue.origin, issue.inclusive ? "at most" : "less than", issue.maximum),
          ),
        );
      case "invalid_union":
        return this.#union(issue, inner) ?? at(config.invalid_value(field, got, issue.message));
      case "invalid_format":
        if (issue.format === "url") return at(config.out_of_range(field, got, "an http:// or https:// address"));
        return at(config.invalid_value(field, got, reason(issue.message)));
      case "invalid_key":
        return at(config.invalid_value(field, path.at(-1), reason(issue.issues[0]?.message ?? issue.message)), "key");
      default:
        return at(config.invalid_value(field || "the value", got, reason(issue.message)));
    }
  }

  #unknown(key: string, inner: Path): Diagnostic {
    this.#fields ??= jsonSchema(this.schema);
    const known = fieldsAt(this.#fields, inner);
    const path = [...this.base, ...inner];
    const meant = known.includes(key) ? undefined : nearest(key, known);
    if (meant) this.misspelt.add(fieldName([...path, meant]));
    return this.source.at(config.unknown_field(key, fieldName(path), known), [...path, key], "key");
  }

  /** A value of the wrong type, or a missing one. */
  #wanted(path: Path, wanted: string): Diagnostic[] {
    const field = fieldName(path);
    const got = valueAt(this.source.raw, path);
    if (got !== undefined || path.length === 0) return [this.source.at(config.wrong_type(field, got, wanted), path)];
    const diagnostic = this.source.at(config.missing_field(field, wanted), path);
    this.missing.set(diagnostic, field);
    return [diagnostic];
  }

  /** Reports the best-matching branch; if every branch only expects another type, reports all types together. */
  #union(issue: z.core.$ZodIssueInvalidUnion, inner: Path): Diagnostic[] | undefined {
    const branches = issue.errors.filter((issues) => issues.length > 0);
    const types = branches.map(([first, ...more]) =>
      more.length === 0 && first!.code === "invalid_type" && first!.path.length === 0 ? first!.expected : undefined
    );
    if (branches.length > 1 && types.every((type) => type !== undefined)) {
      return this.#wanted([...this.base, ...inner], types.map((type) => TYPE_NAMES[type!] ?? type).join(" or "));
    }
    const depth = (issues: typeof branches[number]) => issues[0]!.path.length;
    const best = branches.toSorted((a, b) => a.length - b.length || depth(b) - depth(a))[0];
    return best?.flatMap((each) => this.explain(each, inner));
  }
}

/** "at least 1", "at least 1 character", "at most 3 entries". */
function bound(origin: string, relation: string, limit: number | bigint): string {
  const unit = { string: ["character", "characters"], array: ["entry", "entries"] }[origin];
  return `${relation} ${limit}${unit ? ` ${Number(limit) === 1 ? unit[0] : unit[1]}` : ""}`;
}

function reason(message: string): string {
  return message.replace(/^Invalid (string|input): /, "");
}

/** Names of the fields that are allowed at a path. */
function fieldsAt(schema: JsonSchema, path: Path): string[] {
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
