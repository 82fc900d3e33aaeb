/**
 * Compares a text or JSON value with a scenario's expectation. One newline at the end of a text is ignored; numbers are
 * compared with a tolerance; a list may be written as JSON, one value a line, or with commas.
 * @module
 */
import { compilePattern } from "../common/pattern.ts";
import { schemaMisfit } from "../common/schema_check.ts";
import type { Json, Matcher } from "../events.ts";

/** The keys of a matcher that compare. */
export const WAYS = ["equals", "contains", "matches", "schema", "set"] as const satisfies (keyof Matcher)[];

/** True if the matcher constrains the value; without a key, the value only has to exist. */
export function wantsValue(matcher: Matcher): boolean {
  return WAYS.some((way) => matcher[way] !== undefined);
}

/**
 * Undefined if `value` matches, otherwise a description that follows "expected". Throws if `matches` is no pattern, or
 * cannot be applied to a text as long as this one.
 */
export function mismatch(value: Json, matcher: Matcher): string | undefined {
  const { equals, contains, matches, schema, set, tolerance = 0 } = matcher;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (contains !== undefined && !text.includes(contains)) return `text that contains ${JSON.stringify(contains)}`;
  if (matches !== undefined && !compilePattern(matches).test(text)) return `text that matches /${matches}/`;
  if (set !== undefined) return setProblem(matchSet(value, set, { tolerance }), set);
  if (schema !== undefined) {
    const problem = schemaMisfit(schema, asJson(value) ?? value, "the value", { strict: true });
    return problem === null ? undefined : `a value that fits the schema (${problem})`;
  }
  if (equals === undefined || sameValue(comparable(value, equals), equals, tolerance)) return undefined;
  return tolerance > 0 ? `${JSON.stringify(equals)} ± ${tolerance}` : JSON.stringify(equals);
}

/** Equality of JSON values, in any order of keys; `subset` lets `actual` have additional keys at the top level. */
export function sameValue(actual: Json | undefined, wanted: Json, tolerance = 0, subset = false): boolean {
  if (typeof wanted === "number" && typeof actual === "number") return Math.abs(actual - wanted) <= tolerance;
  if (typeof wanted === "string" && typeof actual === "string") return trimmed(actual) === trimmed(wanted);
  if (wanted === null || typeof wanted !== "object") return actual === wanted;
  if (actual === null || typeof actual !== "object" || Array.isArray(actual) !== Array.isArray(wanted)) return false;
  const [a, w] = [Object.entries(actual), Object.entries(wanted)];
  if (!subset && a.length !== w.length) return false;
  return w.every(([key, inner]) =>
    Object.hasOwn(actual, key) && sameValue((actual as { [key: string]: Json })[key], inner, tolerance)
  );
}

/** A text is parsed as JSON if the expected value is not a text. */
function comparable(value: Json, wanted: Json): Json | undefined {
  return typeof wanted === "string" ? value : asJson(value);
}

/** A text as the JSON that it is; undefined if it is none. */
function asJson(value: Json): Json | undefined {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

/** How a list compares with the expected values. */
export interface SetMatch {
  /** Number of expected values that are in it. */
  found: number;
  /** Expected values that are not in it. */
  missing: Json[];
  /** Values in it that are not expected. */
  extra: Json[];
}

/**
 * Compares a list, or a text that lists values, with the expected ones; order and repetition do not count. `read`
 * changes every text in the list before it is compared.
 */
export function matchSet(
  value: Json,
  wanted: readonly Json[],
  { tolerance = 0, read = (text) => text }: { tolerance?: number; read?: (text: string) => string } = {},
): SetMatch {
  const items = itemsOf(value, wanted).map((item) => typeof item === "string" ? read(item) : item);
  const same = (item: Json, one: Json) =>
    sameValue(typeof one === "string" ? item : comparable(item, one), one, tolerance);
  const missing = wanted.filter((one) => !items.some((item) => same(item, one)));
  return {
    found: wanted.length - missing.length,
    missing,
    extra: items.filter((item) => !wanted.some((one) => same(item, one))),
  };
}

/** What follows "expected" where the list has other values; undefined where it has these. */
export function setProblem({ missing, extra }: SetMatch, wanted: readonly Json[]): string | undefined {
  if (missing.length + extra.length === 0) return undefined;
  const some = (word: string, values: Json[]) => values.length === 0 ? [] : [`${word} ${JSON.stringify(values[0])}`];
  return `the values ${JSON.stringify(wanted)} in any order (${
    [...some("without", missing), ...some("with", extra)].join(", ")
  })`;
}

/** The values that a text lists: a JSON list; else lines, with their bullets left out, or what commas separate. */
function itemsOf(value: Json, wanted: readonly Json[]): Json[] {
  const json = asJson(value);
  if (Array.isArray(json)) return json;
  if (typeof value !== "string") return [value];
  const within = (part: string) => wanted.some((one) => typeof one === "string" && one.includes(part));
  const lines = value.split(/\r?\n/).map((line) => line.replace(/^\s*(?:[-*•]|\d+[.)])\s+/, "").trim()).filter(Boolean);
  if (lines.length !== 1) return lines;
  const listed = within(":") ? lines[0]! : lines[0]!.slice(lines[0]!.lastIndexOf(": ") + 1);
  const separator = within(",") ? /;/ : /[,;]/;
  const parts = listed.split(separator).flatMap((part) => within(" and ") ? [part] : part.split(/(?:^|\s)and\s/));
  return parts.map((part) => part.trim()).filter(Boolean);
}

function trimmed(text: string): string {
  return text.replace(/\r?\n$/, "");
}
