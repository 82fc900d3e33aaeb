/**
 * JSON as models write it inside other text: where a value ends, and the spacing that chat templates print
 * (Python's, `{"a": 1}`). Linear in the length of the text; never throws.
 * @module
 */
import type { Json } from "../events.ts";
import { messageOf } from "../diagnostics/mod.ts";

/** Deeper values are refused: nothing that follows has to fear for its stack. */
const DEEPEST = 200;

/** Index after the object or array that opens at `start`, or -1 where the text ends first. */
export function jsonEnd(text: string, start: number): number {
  return scan(text, start).end;
}

function scan(text: string, start: number): { end: number; deepest: number } {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = start; at < text.length; at++) {
    const char = text[at];
    if (quoted) {
      if (char === "\\") at++;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === "{" || char === "[") deepest = Math.max(deepest, ++depth);
    else if ((char === "}" || char === "]") && --depth === 0) return { end: at + 1, deepest };
  }
  return { end: -1, deepest };
}

/** The value that `text` spells, or why it spells none. */
export function readJson(text: string): { value: Json } | { error: string } {
  if (scan(text, 0).deepest > DEEPEST) return { error: `values nested deeper than ${DEEPEST}` };
  try {
    return { value: JSON.parse(text) };
  } catch (error) {
    return { error: messageOf(error) };
  }
}

/** A key that one object of this valid JSON has twice, where `JSON.parse` silently keeps the last value. */
export function repeatedKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  for (const [token, colon] of json.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, -colon.length)) as string;
      if (open.at(-1)?.has(key)) return key;
      open.at(-1)?.add(key);
    }
  }
  return undefined;
}

/** A value as Python's `json.dumps` prints it: `", "` and `": "` between parts. */
export function spacedJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(spacedJson).join(", ")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${spacedJson(inner)}`).join(", ")}}`;
}
