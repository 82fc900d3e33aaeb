/**
 * One parser per format of tool calls: from text to calls, or to the reason why there are none. Text that does not look
 * like a call is an answer; text that looks like one but cannot be parsed is `invalid`, and none of its calls is made:
 * calls that a server's own parser would reject must not be learned. Never throws, and takes time linear in the length
 * of the text.
 * @module
 */
import type { Json, ToolSpec } from "../events.ts";
import { isObject } from "../common/json.ts";
import type { ToolFormat } from "../plugin.ts";
import { jsonEnd, readJson } from "./json_text.ts";
import { families } from "./marked_calls.ts";
import { readPythonCalls, type WrittenCall } from "./pythonic.ts";
import { asCall, asCalls, type Invalid, jsonAt, type Reading, withArguments } from "./reading.ts";
import { argumentTags, functionTags, invokeTags } from "./xml_calls.ts";

type Parser = (text: string, tools: readonly ToolSpec[]) => Reading;

/** The readers by format. `native` tells the format by its marks, for endpoints that leave calls in the text. */
export const parsers: Record<ToolFormat, Parser> = {
  hermes,
  qwen_xml: functionTags,
  json: bareJson,
  llama_json: bareJson,
  mistral,
  pythonic,
  native: (text, tools) => guess(text)(text, tools),
};

/** The reader for the marks that a text bears; without any it is an answer. */
function guess(text: string): Parser {
  const family = families.find(({ has }) => has(text));
  if (family) return family.read;
  if (text.includes("<invoke name=") || text.includes("<｜DSML｜invoke")) return invokeTags;
  if (text.includes("<arg_key>") || /<tool_call>\s*[\w.:-]+\s*<\/tool_call>/.test(text)) return argumentTags;
  if (text.includes("<function=")) return functionTags;
  if (text.includes("<tool_call>")) return hermes;
  if (text.includes("[TOOL_CALLS]")) return mistral;
  if (PYTHON_MARKS.some(([open]) => text.includes(open)) || text.search(PYTHON_LINE) >= 0) return pythonic;
  return text.search(CALL_START) >= 0 || text.includes("<|python_tag|>")
    ? bareJson
    : (answer) => ({ calls: [], rest: answer });
}

/** JSON between `<tool_call>` tags; the last closing tag may be missing, as it is where it was a stop word. */
function hermes(text: string): Reading {
  const first = text.indexOf("<tool_call>");
  if (first < 0) {
    const loose = /^\s*\{\s*"(name|arguments|parameters)"\s*:|<\/tool_call>/.test(text);
    return loose ? { invalid: "the call is not between <tool_call> and </tool_call>" } : { calls: [], rest: text };
  }
  const calls: WrittenCall[] = [];
  for (let at = first; at >= 0;) {
    const block = hermesBlock(text, at + "<tool_call>".length);
    if ("invalid" in block) return block;
    calls.push(...block.calls);
    at = text.indexOf("<tool_call>", block.end);
  }
  return { calls, rest: text.slice(0, first).trim() };
}

const FENCE = /\s*(?:```[a-z_]*\s*)?/y;

function hermesBlock(text: string, from: number): { calls: WrittenCall[]; end: number } | Invalid {
  const start = after(FENCE, text, from);
  const end = jsonEnd(text, start);
  const tag = end < 0 ? text.indexOf("</tool_call>", start) : -1;
  if (tag >= 0) {
    const read = readJson(text.slice(start, tag).trim());
    return { invalid: "error" in read ? `the call is not JSON: ${read.error}` : 'a call is an object: {"name": …}' };
  }
  const read = jsonAt(text, start, "the call");
  if ("invalid" in read) return read;
  const stop = after(FENCE, text, read.end);
  if (!/^(<\/tool_call>|<tool_call>|<\||$)/.test(text.slice(stop, stop + 12))) {
    return { invalid: `text after the JSON of the call: ${text.slice(stop, stop + 20)}` };
  }
  const listed = asCalls(read.value);
  return "invalid" in listed ? listed : { calls: listed.calls, end: stop };
}

/** Where a sticky pattern that may match nothing ends. */
function after(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  return from + (pattern.exec(text)?.[0].length ?? 0);
}

const CALL_START = /\{\s*"(?:name|function|type|id|arguments|parameters)"\s*:/g;
const SINGLE_QUOTES = /\{\s*'(?:name|function|type|arguments|parameters)'\s*:/;
const BUILT_IN = /^[A-Za-z_]\w*\.call\(/;

/** Bare objects, one or several, with anything or nothing between them. An object without a name is an answer. */
function bareJson(text: string): Reading {
  const plain = text.replace(/<\|python_tag\|>|<\|eom_id\|>|<\|eot_id\|>/g, "");
  if (BUILT_IN.test(plain.trim())) return builtIn(plain.trim());
  const calls: WrittenCall[] = [];
  let first = -1;
  CALL_START.lastIndex = 0;
  for (let found = CALL_START.exec(plain); found; found = CALL_START.exec(plain)) {
    const read = jsonAt(plain, found.index, "the call");
    if ("invalid" in read) return read;
    if (looksLikeCall(read.value)) {
      const call = asCall(read.value);
      if ("invalid" in call) return call;
      calls.push(call);
      if (first < 0) first = found.index;
    }
    CALL_START.lastIndex = read.end;
  }
  if (calls.length > 0) return { calls, rest: unfenced(plain.slice(0, first).trimEnd().replace(/\[$/, "")) };
  if (SINGLE_QUOTES.test(plain)) return { invalid: "the call is not JSON, which takes double quotes" };
  const opening = plain.trim();
  if (opening.startsWith("{") && "error" in readJson(opening)) return { invalid: "the call is not JSON" };
  return { calls: [], rest: plain };
}

/** Text without a code fence that opens at its end. */
function unfenced(text: string): string {
  return text.trimEnd().replace(/```[a-z_]*$/, "").trim();
}

/** Llama's built-in tools: `brave_search.call(query="…")`. */
function builtIn(text: string): Reading {
  const read = readPythonCalls(text);
  if ("error" in read) return { invalid: `the call cannot be read: ${read.error}` };
  return { calls: read.calls.map((call) => ({ ...call, name: call.name.replace(/\.call$/, "") })), rest: "" };
}

function looksLikeCall(value: Json): boolean {
  if (!isObject(value)) return false;
  const inner = isObject(value.function) ? value.function : value;
  return "arguments" in inner || "parameters" in inner || (Object.keys(inner).length === 1 && "name" in inner);
}

/**
 * `[TOOL_CALLS][{…}]` (to version 7 of the tokenizer) and `[TOOL_CALLS]name[ARGS]{…}` or `[TOOL_CALLS]name{…}` (since
 * 11).
 */
function mistral(text: string): Reading {
  const mark = "[TOOL_CALLS]";
  const first = text.indexOf(mark);
  // Servers that leave out special tokens leave only the list.
  if (first < 0) return /^\s*\[\s*\{\s*"(name|arguments)"/.test(text) ? bareJson(text) : { calls: [], rest: text };
  const calls: WrittenCall[] = [];
  for (let at = first; at >= 0;) {
    const block = mistralBlock(text, at + mark.length);
    if ("invalid" in block) return block;
    calls.push(...block.calls);
    at = text.indexOf(mark, block.end);
  }
  return { calls, rest: text.slice(0, first).trim() };
}

const NAMED = /\s*([^\s{[]+)\s*(?:\[CALL_ID\]\s*[^\s[]+\s*)?(?:\[ARGS\])?\s*(?=\{)/y;

function mistralBlock(text: string, from: number): { calls: WrittenCall[]; end: number } | Invalid {
  if (/^\s*[[{]/.test(text.slice(from, from + 100))) {
    const read = jsonAt(text, from, "the list of calls");
    if ("invalid" in read) return read;
    const listed = asCalls(read.value);
    return "invalid" in listed ? listed : { ...listed, end: read.end };
  }
  NAMED.lastIndex = from;
  const named = NAMED.exec(text);
  if (!named) return { invalid: "after [TOOL_CALLS] comes a name and its arguments as JSON" };
  const read = jsonAt(text, NAMED.lastIndex, `the call of ${named[1]}`);
  if ("invalid" in read) return read;
  const call = withArguments(named[1]!, read);
  return "invalid" in call ? call : { calls: [call], end: read.end };
}

/** What Llama 4 and LFM2 put around a list of calls. */
const PYTHON_MARKS = [["<|python_start|>", "<|python_end|>"], ["<|tool_call_start|>", "<|tool_call_end|>"]] as const;
/** A list of calls that begins a line. */
const PYTHON_LINE = /(?:^|\n)[ \t]*\[[ \t]*[\w.-]+\((?:\)|[^\s=(),'"]+[ \t]*=|\*\*\{)/;

function pythonic(text: string): Reading {
  for (const [open, close] of PYTHON_MARKS) {
    const at = text.indexOf(open);
    if (at < 0) continue;
    const end = text.indexOf(close, at);
    const inner = text.slice(at + open.length, end < 0 ? undefined : end).trim();
    const rest = end < 0 ? text.slice(0, at) : `${text.slice(0, at)}\n${text.slice(end + close.length)}`;
    return /^\[?\s*\{/.test(inner) ? jsonList(inner, rest) : pythonList(inner, rest);
  }
  const plain = text.replace(/<\|(?:python_tag|eom_id|eot|eot_id)\|>/g, "").trimEnd();
  const whole = plain.trimStart();
  if (/^\[\s*[\w.-]+\s*\(/.test(whole) || /^[A-Za-z_][\w.-]*\(\s*(\)|\w+\s*=)/.test(whole)) {
    return pythonList(whole, "");
  }
  const at = plain.search(PYTHON_LINE);
  if (at < 0) return { calls: [], rest: text };
  return pythonList(plain.slice(at).replace(/```$/, ""), unfenced(plain.slice(0, at)));
}

function jsonList(text: string, rest: string): Reading {
  const read = jsonAt(text, 0, "the list of calls");
  if ("invalid" in read) return read;
  const listed = asCalls(read.value);
  return "invalid" in listed ? listed : { ...listed, rest: rest.trim() };
}

function pythonList(text: string, rest: string): Reading {
  const read = readPythonCalls(text);
  return "error" in read
    ? { invalid: `the call cannot be read: ${read.error}` }
    : { calls: read.calls, rest: rest.trim() };
}
