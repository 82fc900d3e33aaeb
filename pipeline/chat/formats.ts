/**
 * The formats of tool calls: how tools are shown to a model and how its calls are parsed. `native` leaves both to the
 * endpoint's chat template; for every other format, hone renders tools into the system prompt and parses calls from the
 * model's raw text. Malformed calls are returned as `invalid`, never thrown.
 * @module
 */
import type { CallOutcome, ChatMessage, Json, JsonObject, ToolSpec } from "../events.ts";
import type { ToolFormat } from "../plugin.ts";
import { spacedJson } from "./json_text.ts";
import { parsers } from "./parsers.ts";
import { pythonCall, type WrittenCall } from "./pythonic.ts";
import { toolLine } from "./tool_text.ts";

export type { WrittenCall };

/** What a model's text holds. With neither calls nor `invalid`, `content` is its answer. */
export interface ParsedText {
  calls: WrittenCall[];
  /** The text without its reasoning and its calls. */
  content: string;
  reasoning?: string;
  /** Why the text, which looks like a call, is none; in words for the model. */
  invalid?: string;
}

/** Reads a model's raw text. `tools` type the values of formats that write every value as text. */
export function parseCalls(text: string, format: ToolFormat, tools: readonly ToolSpec[] = []): ParsedText {
  const { reasoning, rest } = splitReasoning(text);
  const read = parsers[format](rest, tools);
  if ("invalid" in read) {
    return { calls: [], content: rest, invalid: read.invalid, ...(reasoning === undefined ? {} : { reasoning }) };
  }
  const thought = read.reasoning ?? reasoning;
  const content = read.rest.trim().replace(/^<\|START_RESPONSE\|>|<\|END_RESPONSE\|>$/g, "").trim();
  return { calls: read.calls, content, ...(thought === undefined ? {} : { reasoning: thought }) };
}

/** How families mark a thought: Qwen, DeepSeek, GLM and others; Mistral; Command R; MiniMax; Seed. */
const THOUGHTS = [
  ["<think>", "</think>"],
  ["[THINK]", "[/THINK]"],
  ["<|START_THINKING|>", "<|END_THINKING|>"],
  ["<mm:think>", "</mm:think>"],
  ["<seed:think>", "</seed:think>"],
] as const;

/** Takes a leading thought apart. Templates may open it themselves, so that only its end is in the text. */
export function splitReasoning(text: string): { reasoning?: string; rest: string } {
  const start = text.trimStart();
  for (const [open, close] of THOUGHTS) {
    const begins = start.startsWith(open);
    const end = text.indexOf(close);
    if (end < 0 && !begins) continue;
    if (!begins && quoted(text.slice(0, end))) continue;
    const from = begins ? text.indexOf(open) + open.length : 0;
    const reasoning = text.slice(from, end < 0 ? undefined : end).trim();
    return { reasoning, rest: end < 0 ? "" : text.slice(end + close.length) };
  }
  return { rest: text };
}

/** Whether what follows this text stands within a call, as an argument that happens to hold a mark of thoughts. */
function quoted(text: string): boolean {
  return /^\s*[{[<]/.test(text) || text.includes("[TOOL_CALLS]") ||
    text.lastIndexOf("<tool_call>") > text.lastIndexOf("</tool_call>");
}

const HOW: Record<Exclude<ToolFormat, "native">, string> = {
  json: 'To use a tool, answer only with JSON: {"name":"tool","arguments":{"key":"value"}}',
  llama_json: 'To use a tool, answer only with JSON: {"name": "tool", "parameters": {"key": "value"}}',
  hermes: "To use a tool, answer with\n<tool_call>\n" +
    '{"name": "tool", "arguments": {"key": "value"}}\n</tool_call>',
  qwen_xml: "To use a tool, answer with\n<tool_call>\n<function=tool>\n<parameter=key>\nvalue\n</parameter>\n" +
    "</function>\n</tool_call>",
  pythonic: 'To use a tool, answer only with a list of calls: [tool(key="value")]',
  mistral: 'To use a tool, answer only with [TOOL_CALLS][{"name": "tool", "arguments": {"key": "value"}}]',
};

/** The part of the system prompt that names the tools, one line each, and says how to call one; empty for `native`. */
export function renderTools(tools: readonly ToolSpec[], format: ToolFormat): string {
  if (format === "native" || tools.length === 0) return "";
  return `Tools:\n${tools.map(toolLine).join("\n")}\n${HOW[format]}`;
}

/**
 * A call as the family's own chat template prints it, so that what is asked for and what is learned is what the model
 * was made for; `json` is hone's own, for models whose template knows no tools. `native` is written as Hermes, which
 * most templates with tools print.
 */
export function renderCall(call: WrittenCall, format: ToolFormat): string {
  const { name, arguments: given } = call;
  switch (format) {
    case "json":
      return JSON.stringify({ name, arguments: given });
    case "llama_json":
      return spacedJson({ name, parameters: given });
    case "native":
    case "hermes":
      return `<tool_call>\n${spacedJson({ name, arguments: given })}\n</tool_call>`;
    case "mistral":
      return `[TOOL_CALLS]${spacedJson([{ name, arguments: given }])}`;
    case "pythonic":
      return `[${pythonCall(call)}]`;
    case "qwen_xml":
      return `<tool_call>\n<function=${name}>\n${xmlParameters(given)}</function>\n</tool_call>`;
  }
}

function xmlParameters(given: JsonObject): string {
  const text = (value: Json) => typeof value === "string" ? value : spacedJson(value);
  return Object.entries(given).map(([key, value]) => `<parameter=${key}>\n${text(value)}\n</parameter>\n`).join("");
}

/** The result of one call, as far as the model is concerned. */
export interface ShownResult {
  /** Id of the call, where the endpoint gave one. */
  id?: string;
  outcome: CallOutcome;
  text: string;
}

/**
 * The messages that bring results back: `tool` ones where the template knows tools, else one `user` message, so that
 * roles keep taking turns. The same results give the same text, whatever came before.
 */
export function resultMessages(results: readonly ShownResult[], format: ToolFormat): ChatMessage[] {
  if (format === "native") {
    return results.map(({ id, text, outcome }) => ({
      role: "tool",
      content: outcome === "ok" ? text : `Error: ${text}`,
      ...(id === undefined ? {} : { tool_call_id: id }),
    }));
  }
  const wrap = format === "hermes" || format === "qwen_xml"
    ? (text: string) => `<tool_response>\n${text}\n</tool_response>`
    : (text: string) => text;
  // The text begins its own line: after a space, byte-pair tokens differ from those that the model writes in a call.
  const lines = results.map(({ outcome, text }) => {
    if (outcome !== "ok") return wrap(`Error: ${text}`);
    return wrap(format === "hermes" || format === "qwen_xml" ? text : `Result:\n${text || "(empty)"}`);
  });
  return [{ role: "user", content: lines.join("\n") }];
}

/** Cuts a result for the model, and says so; the whole stays in the record. */
export function clip(text: string, max_chars: number): { text: string; truncated: boolean } {
  if (text.length <= max_chars) return { text, truncated: false };
  const kept = beginning(text, max_chars);
  return {
    text: `${kept}\n[cut: ${text.length - kept.length} of ${text.length} characters left out]`,
    truncated: true,
  };
}

/** The first characters of a text, no pair of surrogates torn. */
export function beginning(text: string, chars: number): string {
  const last = text.charCodeAt(chars - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? chars - 1 : chars);
}
