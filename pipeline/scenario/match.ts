/**
 * Compares a text or JSON value with a scenario's expectation. One newline at the end of a text is ignored; numbers are
 * compared with a tolerance.
 * @module
 */
import { compilePattern } from "../common/pattern.ts";
import type { Json, Matcher } from "../events.ts";

/** True if the matcher constrains the value; without a key, the value only has to exist. */
export function wantsValue({ equals, contains, matches }: Matcher): boolean {
  return equals !== undefined || contains !== undefined || matches !== undefined;
}

/**
 * Undefined if `value` matches, otherwise a description that follows "expected". Throws if `matches` is no pattern, or
 * cannot be applied to a text as long as this one.
 */
export function mismatch(value: Json, matcher: Matcher): string | undefined {
  const { equals, contains, matches, tolerance = 0 } = matcher;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (contains !== undefined && !text.includes(contains)) return `text that contains ${JSON.stringify(contains)}`;
  if (matches !== undefined && !compilePattern(matches).test(text)) return `text that matches /${matches}/`;
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
  if (typeof value !== "string" || typeof wanted === "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return undefined;
  }
}

function trimmed(text: string): string {
  return text.replace(/\r?\n$/, "");
}
