/**
 * Calls written as tags: Qwen3-Coder's `<function=…><parameter=…>`, GLM's `<arg_key>`, and `<invoke name="…">` of
 * DeepSeek 3.2 and MiniMax. None of them escapes anything, so a value is read as far as the format allows: to the last
 * closing tag before the next one opens. Values are text unless the tool's schema says otherwise.
 * @module
 */
import type { Json, JsonObject, ToolSpec } from "../events.ts";
import { readJson } from "./json_text.ts";
import type { WrittenCall } from "./pythonic.ts";
import { type Invalid, type Reading, withArguments } from "./reading.ts";

/** `<function=name><parameter=key>value</parameter></function>`, in `<tool_call>` tags or without. */
export function functionTags(text: string, tools: readonly ToolSpec[]): Reading {
  const wrapped = text.indexOf("<tool_call>");
  const first = wrapped >= 0 ? wrapped : text.search(/(?:^|\n)[ \t]*<function=/);
  if (first < 0) {
    const loose = text.includes("</tool_call>");
    return loose ? { invalid: "the call is not between <tool_call> and </tool_call>" } : { calls: [], rest: text };
  }
  const body = text.slice(first);
  const starts = [...body.matchAll(/(?:<tool_call>|<\/function>|^)\s*<function=/g)];
  if (starts.length === 0) return { invalid: "the call has no <function=…>" };
  const calls: WrittenCall[] = [];
  for (const [number, start] of starts.entries()) {
    const until = starts[number + 1];
    const ends = until && (until[0].startsWith("</function>") ? until.index + "</function>".length : until.index);
    const call = functionTag(body.slice(start.index + start[0].length, ends), tools);
    if ("invalid" in call) return call;
    calls.push(call);
  }
  return { calls, rest: text.slice(0, first).trim() };
}

/** What follows `<function=`: a name, and parameters or (Llama 3.1) a JSON object. */
function functionTag(text: string, tools: readonly ToolSpec[]): WrittenCall | Invalid {
  const opened = /^([^>\n]*)>/.exec(text);
  if (!opened) return { invalid: "a <function=…> does not close" };
  const name = opened[1]!.trim();
  if (name === "") return { invalid: "the call has no name" };
  const closing = text.lastIndexOf("</function>");
  if (closing < 0) return { invalid: `the call of ${name} is cut off: it has no </function>` };
  const inner = text.slice(opened[0].length, closing);
  if (inner.trimStart().startsWith("{")) return withArguments(name, readJson(inner.trim()));
  const [before, ...parts] = inner.split(/(?:^|\n|(?<=<\/parameter>))[ \t]*<parameter=/);
  if (before!.trim() !== "") return { invalid: `text between <function=${name}> and its parameters` };
  const entries: [string, Json][] = [];
  for (const part of parts) {
    const close = part.indexOf(">");
    if (close < 0) return { invalid: `a <parameter=…> of ${name} does not close` };
    const key = part.slice(0, close).trim();
    const end = part.lastIndexOf("</parameter>");
    const raw = part.slice(close + 1, end < 0 ? undefined : end).replace(/^\n/, "").replace(/\n$/, "");
    entries.push([key, typed(raw, schemaOf(tools, name, key))]);
  }
  return { name, arguments: Object.fromEntries(entries) };
}

/** `<tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>`. */
export function argumentTags(text: string, tools: readonly ToolSpec[]): Reading {
  const calls: WrittenCall[] = [];
  const [before, ...blocks] = text.split("<tool_call>");
  for (const block of blocks) {
    const end = block.indexOf("</tool_call>");
    if (end < 0) return { invalid: "the call is cut off: it has no </tool_call>" };
    const call = argumentPairs(block.slice(0, end), tools);
    if ("invalid" in call) return call;
    calls.push(call);
  }
  return { calls, rest: before!.trim() };
}

function argumentPairs(block: string, tools: readonly ToolSpec[]): WrittenCall | Invalid {
  const [head, ...pairs] = block.split("<arg_key>");
  const name = head!.trim();
  if (name === "") return { invalid: "the call has no name" };
  const entries: [string, Json][] = [];
  for (const pair of pairs) {
    const [key, value] = pair.split("</arg_key>");
    const opened = value?.indexOf("<arg_value>") ?? -1;
    const closed = value?.lastIndexOf("</arg_value>") ?? -1;
    if (opened < 0 || closed < opened) return { invalid: `an argument of ${name} lacks <arg_key> or <arg_value> tags` };
    const raw = value!.slice(opened + "<arg_value>".length, closed);
    entries.push([key!.trim(), typed(raw, schemaOf(tools, name, key!.trim()))]);
  }
  return { name, arguments: Object.fromEntries(entries) };
}

/** `<invoke name="…"><parameter name="…">value</parameter></invoke>`; DeepSeek puts `｜DSML｜` before each tag's name. */
export function invokeTags(text: string, tools: readonly ToolSpec[]): Reading {
  const mark = text.includes("<｜DSML｜invoke") ? "｜DSML｜" : "";
  const [before, ...blocks] = text.split(`<${mark}invoke name="`);
  const calls: WrittenCall[] = [];
  for (const block of blocks) {
    const end = block.indexOf(`</${mark}invoke>`);
    if (end < 0) return { invalid: `the call is cut off: it has no </${mark}invoke>` };
    const call = invoked(block.slice(0, end), mark, tools);
    if ("invalid" in call) return call;
    calls.push(call);
  }
  return { calls, rest: before!.trimEnd().replace(/<[^<>\n]*>$/, "").trim() };
}

function invoked(block: string, mark: string, tools: readonly ToolSpec[]): WrittenCall | Invalid {
  const [head, ...parts] = block.split(`<${mark}parameter name="`);
  const name = /^([^"\n]+)">/.exec(head!)?.[1];
  if (name === undefined) return { invalid: "the call has no name" };
  const entries: [string, Json][] = [];
  for (const part of parts) {
    const opened = /^([^"\n]+)"(?: string="(true|false)")?>/.exec(part);
    const end = part.lastIndexOf(`</${mark}parameter>`);
    if (!opened || end < 0) return { invalid: `a parameter of ${name} does not close` };
    const [tag, key, text] = opened;
    const raw = part.slice(tag.length, end);
    entries.push([key!, text === "true" ? raw : typed(raw, text ? {} : schemaOf(tools, name, key!))]);
  }
  return { name, arguments: Object.fromEntries(entries) };
}

function schemaOf(tools: readonly ToolSpec[], name: string, key: string): JsonObject | undefined {
  const properties = tools.find(({ model_name }) => model_name === name)?.input_schema.properties as
    | Record<string, JsonObject>
    | undefined;
  return properties && Object.hasOwn(properties, key) ? properties[key] : undefined;
}

/** The value that `raw` spells under its schema: text where that is allowed or nothing is known. */
function typed(raw: string, schema: JsonObject | undefined): Json {
  const options = [schema, ...list(schema?.anyOf), ...list(schema?.oneOf)];
  const types = options.flatMap((option) => option?.type ?? []);
  if (schema === undefined || types.includes("string") && !(raw === "null" && types.includes("null"))) return raw;
  const word = raw.trim();
  const read = readJson({ True: "true", False: "false", None: "null" }[word] ?? word);
  return "error" in read ? raw : read.value;
}

function list(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value as JsonObject[] : [];
}
