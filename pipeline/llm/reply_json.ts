/**
 * Extracts JSON from a model's reply leniently (code fences, surrounding prose) and validates it against the schema,
 * and has the corresponding prompt texts. Linear in the length of the reply.
 * @module
 */
import { jsonEnd, readJson, repeatedKey } from "../chat/json_text.ts";
import { canonical } from "../common/json.ts";
import { misfit } from "../common/schema_check.ts";
import { messageOf } from "../diagnostics/mod.ts";
import type { ChatMessage, Json, JsonObject } from "../events.ts";
import type { Said } from "./llm_api.ts";

/** The reply as JSON, or the problem, as text for the model; `none` if the reply contains no JSON at all. */
export type Read = { value: Json } | { problem: string; none?: true };

const REPLY = { whole: "the reply", unknown_field: "is not a field of the schema" };

/** Parses and validates a reply. */
export function readReply({ json, text }: Pick<Said, "json" | "text">, schema: JsonObject): Read {
  const found = json === undefined ? valuesIn(text, schema.type === "array" ? "list" : "object") : { values: [json] };
  if ("problem" in found) return found;
  const { values } = found;
  const fitting = values.filter((value) => problemOf(schema, value) === null);
  if (fitting.length === 1) return { value: fitting[0]! };
  if (fitting.length > 1) return { problem: `there are ${fitting.length} JSON values in it, expected one` };
  return { problem: problemOf(schema, values.at(-1)!)! };
}

function problemOf(schema: JsonObject, value: Json): string | null {
  try {
    return misfit(schema, value, REPLY);
  } catch (error) {
    return `the reply cannot be checked against its schema: ${messageOf(error)}`;
  }
}

const FENCED = /```[^\n`]*\n([\s\S]*?)```/g;
/** Where a value may start; not at any brace in prose. */
const STARTS = { object: /\{\s*["}]/g, list: /\[/g };

type Found = { values: Json[] } | { problem: string; none?: true };

/** The distinct JSON values of a text: the whole text, or those in code fences, or those in prose. */
function valuesIn(text: string, wanted: keyof typeof STARTS): Found {
  const whole = readOnce(text.trim());
  if (!("error" in whole)) return "problem" in whole ? whole : { values: [whole.value] };
  const fenced = [...text.matchAll(FENCED)].map(([, inside]) => readOnce(inside!.trim()));
  const twice = fenced.find((read) => "problem" in read);
  if (twice) return twice as { problem: string };
  const values = fenced.flatMap((read) => "value" in read ? [read.value] : []);
  return values.length > 0 ? { values: different(values) } : inProse(text, wanted);
}

/** A value, in which no object has a key twice: which of the two is meant cannot be known. */
function readOnce(json: string): { value: Json } | { error: string } | { problem: string } {
  const read = readJson(json);
  const twice = "value" in read ? repeatedKey(json) : undefined;
  return twice === undefined ? read : { problem: `an object in it has the key ${JSON.stringify(twice)} twice` };
}

function inProse(text: string, wanted: keyof typeof STARTS): Found {
  const values: Json[] = [];
  const start = new RegExp(STARTS[wanted]);
  let wrong: string | undefined;
  for (let found = start.exec(text); found; found = start.exec(text)) {
    const end = jsonEnd(text, found.index);
    // A value nested in a truncated one is not the reply.
    if (end < 0) return { problem: "its JSON is cut off: the brackets do not close" };
    const read = readOnce(text.slice(found.index, end));
    if ("problem" in read) return read;
    if ("value" in read) values.push(read.value);
    else wrong = `it is not JSON: ${read.error}`;
    start.lastIndex = end;
  }
  if (values.length > 0) return { values: different(values) };
  return wrong === undefined ? { problem: "there is no JSON in it", none: true } : { problem: wrong };
}

function different(values: Json[]): Json[] {
  return [...new Map(values.map((value) => [canonical(value), value])).values()];
}

/** The conversation with the schema described at its end, for endpoints that do not accept schemas. */
export function withSchema(messages: readonly ChatMessage[], schema: JsonObject): ChatMessage[] {
  const words = "Answer with one JSON value and nothing else: no prose, no code fence. It must be valid against this " +
    `JSON Schema:\n${JSON.stringify(schema)}`;
  const last = messages.at(-1);
  return last?.role === "user"
    ? [...messages.slice(0, -1), { ...last, content: `${last.content}\n\n${words}` }]
    : [...messages, { role: "user", content: words }];
}

/** Prompt about an unusable reply. */
export function repairText(problem: string): string {
  return `That reply cannot be used: ${problem}. Answer again.`;
}
