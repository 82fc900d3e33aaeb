/**
 * One reader per format of tool calls: text in, calls or the reason why there are none out. What does not look like a
 * call is an answer; what looks like one and cannot be read is `invalid`. Nothing here throws, whatever a model wrote.
 * @module
 */
import type { Json, JsonObject, ToolSpec } from "../events.ts";
import type { ToolFormat } from "../plugin.ts";
import { jsonEnd, readJson } from "./json_text.ts";
import { readPythonCalls, type WrittenCall } from "./pythonic.ts";

/** What a text holds: calls, or an answer (no calls), or something that was meant as a call. */
export type Reading = { calls: WrittenCall[]; rest: string } | { invalid: string };

type Parser = (text: string, tools: readonly ToolSpec[]) => Reading;

/** The readers by format. `native` tells the format by its marks, for endpoints that leave calls in the text. */
export const parsers: Record<ToolFormat, Parser> = {
  hermes: (text) => tagged(text, (inner) => jsonCall(inner)),
  qwen_xml: (text, tools) => tagged(text, (inner) => xmlCall(inner, tools)),
  llama_json: bareJson,
  mistral,
  pythonic,
  native: (text, tools) => parsers[guess(text)](text, tools),
};

function guess(text: string): Exclude<ToolFormat, "native"> {
  if (text.includes("<function=")) return "qwen_xml";
  if (text.includes("<tool_call>")) return "hermes";
  if (text.includes("[TOOL_CALLS]")) return "mistral";
  if (text.includes("<|python_start|>") || /^\s*\[\s*[A-Za-z_]\w*\(/.test(text)) return "pythonic";
  return "llama_json";
}

/** Blocks between `<tool_call>` tags; the last closing tag may be missing, as it is where it was a stop word. */
function tagged(text: string, read: (inner: string) => WrittenCall | { invalid: string }): Reading {
  const first = text.indexOf("<tool_call>");
  if (first < 0) {
    const loose = /^\s*(<function=|\{\s*"(name|arguments|parameters)"\s*:)|<\/tool_call>/.test(text);
    return loose ? { invalid: "the call is not between <tool_call> and </tool_call>" } : { calls: [], rest: text };
  }
  const calls: WrittenCall[] = [];
  for (const block of text.slice(first).split("<tool_call>").slice(1)) {
    const call = read(block.split("</tool_call>")[0]!.trim());
    if ("invalid" in call) return call;
    calls.push(call);
  }
  return { calls, rest: text.slice(0, first).trim() };
}

/** `{"name": …, "arguments": {…}}` and its relatives. */
function jsonCall(text: string): WrittenCall | { invalid: string } {
  const read = readJson(text);
  return "error" in read ? { invalid: `the call is not JSON: ${read.error}` } : asCall(read.value);
}

function asCall(value: Json): WrittenCall | { invalid: string } {
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    return { invalid: 'a call is an object: {"name": …, "arguments": {…}}' };
  }
  const inner = isObject(value.function) ? value.function : value;
  const name = inner.name ?? value.function;
  if (typeof name !== "string" || name === "") return { invalid: "the call has no name" };
  const written = inner.arguments ?? inner.parameters ?? {};
  const read = typeof written === "string" ? readJson(written) : { value: written };
  if ("error" in read || !isObject(read.value)) return { invalid: `the arguments of ${name} are not an object` };
  return { name, arguments: read.value };
}

function isObject(value: Json | undefined): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

const CALL_START = /\{\s*"(name|function|type|id|arguments|parameters)"\s*:/g;

/** Bare objects, one or several, with anything or nothing between them. An object without a name is an answer. */
function bareJson(text: string): Reading {
  const plain = text.replace(/<\|python_tag\|>|<\|eom_id\|>|<\|eot_id\|>/g, "");
  const calls: WrittenCall[] = [];
  let first = -1;
  CALL_START.lastIndex = 0;
  for (let found = CALL_START.exec(plain); found; found = CALL_START.exec(plain)) {
    const end = jsonEnd(plain, found.index);
    if (end < 0) return { invalid: "the call is cut off: its braces do not close" };
    const read = readJson(plain.slice(found.index, end));
    if ("error" in read) return { invalid: `the call is not JSON: ${read.error}` };
    if (looksLikeCall(read.value)) {
      const call = asCall(read.value);
      if ("invalid" in call) return call;
      calls.push(call);
      if (first < 0) first = found.index;
    }
    CALL_START.lastIndex = end;
  }
  if (calls.length > 0) return { calls, rest: plain.slice(0, first).trim() };
  const opening = plain.trim();
  if (opening.startsWith("{") && "error" in readJson(opening)) return { invalid: "the call is not JSON" };
  return { calls: [], rest: plain };
}

function looksLikeCall(value: Json): boolean {
  if (!isObject(value)) return false;
  const inner = isObject(value.function) ? value.function : value;
  return "arguments" in inner || "parameters" in inner || (Object.keys(inner).length === 1 && "name" in inner);
}

/** `<function=name><parameter=key>value</parameter></function>`; values are text unless the schema says otherwise. */
function xmlCall(text: string, tools: readonly ToolSpec[]): WrittenCall | { invalid: string } {
  const opening = /^<function=([^>\n]*)>/.exec(text);
  if (!opening) return { invalid: "the call has no <function=…>" };
  const name = opening[1]!.trim();
  if (name === "") return { invalid: "the call has no name" };
  const tool = tools.find(({ model_name }) => model_name === name);
  const entries: [string, Json][] = [];
  for (const part of text.slice(opening[0].length).split(/(?:^|\n)\s*<parameter=/).slice(1)) {
    const close = part.indexOf(">");
    if (close < 0) return { invalid: `a <parameter=…> of ${name} does not close` };
    const key = part.slice(0, close).trim();
    const ends = [part.lastIndexOf("</parameter>"), part.lastIndexOf("</function>"), part.length];
    const end = ends.find((at) => at >= 0)!;
    const raw = part.slice(close + 1, end).replace(/^\n/, "").replace(/\n$/, "");
    entries.push([key, typed(raw, tool, key)]);
  }
  return { name, arguments: Object.fromEntries(entries) };
}

function typed(raw: string, tool: ToolSpec | undefined, key: string): Json {
  const schema = (tool?.input_schema.properties as Record<string, JsonObject> | undefined)?.[key];
  const options = [schema, ...(schema?.anyOf as JsonObject[] | undefined) ?? []];
  const types = options.flatMap((option) => option?.type ?? []);
  if (schema === undefined || types.includes("string") && !(raw === "null" && types.includes("null"))) return raw;
  const literal = { True: "true", False: "false", None: "null" }[raw.trim()] ?? raw;
  const read = readJson(literal);
  return "error" in read ? raw : read.value;
}

/** `[TOOL_CALLS][{…}]` (to version 7 of the tokenizer) and `[TOOL_CALLS]name[ARGS]{…}` or `[TOOL_CALLS]name{…}` (since 11). */
function mistral(text: string): Reading {
  const first = text.indexOf("[TOOL_CALLS]");
  if (first < 0) {
    return /^\s*\[\s*\{\s*"(name|arguments)"/.test(text)
      ? { invalid: "the call does not begin with [TOOL_CALLS]" }
      : { calls: [], rest: text };
  }
  const calls: WrittenCall[] = [];
  for (const part of text.slice(first).split("[TOOL_CALLS]").slice(1)) {
    const block = part.replace(/<\/s>\s*$/, "").trim();
    if (block.startsWith("[") || block.startsWith("{")) {
      const end = jsonEnd(block, 0);
      const read = end < 0 ? { error: "its brackets do not close" } : readJson(block.slice(0, end));
      if ("error" in read) return { invalid: `the calls are not JSON: ${read.error}` };
      for (const value of Array.isArray(read.value) ? read.value : [read.value]) {
        const call = asCall(value);
        if ("invalid" in call) return call;
        calls.push(call);
      }
      continue;
    }
    const named = /^([^\s{[]+)\s*(?:\[CALL_ID\]\s*[^\s[]+\s*)?(?:\[ARGS\])?\s*(\{[\s\S]*)$/.exec(block);
    if (!named) return { invalid: "after [TOOL_CALLS] comes a name and its arguments as JSON" };
    const read = readJson(named[2]!);
    if ("error" in read || !isObject(read.value)) {
      return { invalid: `the arguments of ${named[1]} are not a JSON object` };
    }
    calls.push({ name: named[1]!, arguments: read.value });
  }
  return calls.length > 0 ? { calls, rest: text.slice(0, first).trim() } : { invalid: "nothing follows [TOOL_CALLS]" };
}

function pythonic(text: string): Reading {
  const plain = text.replace(/<\|python_(start|end|tag)\|>|<\|eom_id\|>|<\|eot\|>/g, "").trim();
  const looks = /^\[\s*[A-Za-z_][\w.-]*\s*\(/.test(plain) || /^[A-Za-z_][\w.-]*\(\s*(\)|\w+\s*=)/.test(plain);
  if (!looks) return { calls: [], rest: text };
  const read = readPythonCalls(plain);
  return "error" in read ? { invalid: `the call cannot be read: ${read.error}` } : { calls: read.calls, rest: "" };
}
