/**
 * What the readers of tool calls share: the shape of what they return, and calls out of JSON values. Errors are values,
 * in words for the model. Linear in the length of the text.
 * @module
 */
import type { Json } from "../events.ts";
import { isObject } from "../common/json.ts";
import { jsonEnd, readJson } from "./json_text.ts";
import type { WrittenCall } from "./pythonic.ts";

/** What a text holds: calls, or an answer (no calls), or something that was meant as a call. */
export type Reading = { calls: WrittenCall[]; rest: string; reasoning?: string } | Invalid;

/** Why a text that looks like a call is none. */
export interface Invalid {
  invalid: string;
}

const SHAPE = 'a call is an object: {"name": …, "arguments": {…}}';

/** `{"name": …, "arguments": {…}}` and its relatives; arguments may be JSON in a string. */
export function asCall(value: Json): WrittenCall | Invalid {
  if (!isObject(value)) return { invalid: SHAPE };
  const inner = isObject(value.function) ? value.function : value;
  const name = inner.name ?? value.function ?? inner.tool_name;
  if (typeof name !== "string" || name === "") return { invalid: "the call has no name" };
  const written = inner.arguments ?? inner.parameters ?? {};
  return withArguments(name, typeof written === "string" ? readJson(written.trim() || "{}") : { value: written });
}

/** One call or a list of them. */
export function asCalls(value: Json): { calls: WrittenCall[] } | Invalid {
  const values = Array.isArray(value) ? value : [value];
  if (values.length === 0) return { invalid: SHAPE };
  const calls: WrittenCall[] = [];
  for (const one of values) {
    const call = asCall(one);
    if ("invalid" in call) return call;
    calls.push(call);
  }
  return { calls };
}

/** A call whose arguments stand apart from its name. */
export function withArguments(name: string, read: { value: Json } | { error: string }): WrittenCall | Invalid {
  if (name === "") return { invalid: "the call has no name" };
  if ("error" in read || !isObject(read.value)) return { invalid: `the arguments of ${name} are not a JSON object` };
  return { name, arguments: read.value };
}

/** The object or list that begins at `start` (white space aside), and where it ends; `what` names it in errors. */
export function jsonAt(text: string, start: number, what: string): { value: Json; end: number } | Invalid {
  const from = start + (/^\s*/.exec(text.slice(start, start + 100))?.[0].length ?? 0);
  if (text[from] !== "{" && text[from] !== "[") return { invalid: `${what} is not JSON` };
  const end = jsonEnd(text, from);
  if (end < 0) return { invalid: `${what} is cut off: its braces do not close` };
  const read = readJson(text.slice(from, end));
  return "error" in read ? { invalid: `${what} is not JSON: ${read.error}` } : { value: read.value, end };
}
