import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { JsonObject, ToolSpec } from "../events.ts";
import type { ToolFormat } from "../plugin.ts";
import { stream } from "../common/random.ts";
import { parseCalls, renderCall, type WrittenCall } from "./formats.ts";

interface RandomStream {
  /** A whole number below `limit`. */
  int(limit: number): number;
}

function draws(purpose: string): RandomStream {
  const next = stream(7, purpose);
  return { int: (limit) => Math.floor(next() * limit) };
}

interface Fixture {
  format: ToolFormat;
  source: string;
  text: string;
  calls?: WrittenCall[];
  content?: string;
  reasoning?: string;
  invalid?: string;
}

const FIXTURES: Fixture[] = parse(readFileSync(join(import.meta.dirname!, "fixtures/tool_calls.yaml"), "utf8"));
const FORMATS: ToolFormat[] = ["native", "hermes", "json", "llama_json", "qwen_xml", "pythonic", "mistral"];

function tool(name: string, properties: JsonObject): ToolSpec {
  const input_schema = { type: "object", properties };
  return { server: "s", name, model_name: name, description: "", input_schema, annotations: {}, tokens: 0 };
}

const optional = (type: string) => ({ anyOf: [{ type }, { type: "null" }] });
const TOOLS = [
  tool("area", { shape: { type: "string" }, dimensions: { type: "object" }, precision: { type: "integer" } }),
  tool("anyof", {
    count: optional("integer"),
    word: optional("string"),
    list: { oneOf: [{ type: "array", items: { type: "string" } }, { type: "null" }] },
    typed: { type: ["integer", "null"] },
    many: { anyOf: [{ type: "string" }, { type: "integer" }, { type: "null" }] },
    flag: optional("boolean"),
    none: optional("string"),
  }),
];

Deno.test("parseCalls() reads what models and servers are known to write", async (t) => {
  assert.equal(new Set(FIXTURES.map(({ format, source }) => `${format}: ${source}`)).size, FIXTURES.length);
  for (const { format, source, text, calls = [], content = "", reasoning, invalid } of FIXTURES) {
    await t.step(`${format}: ${source}`, () => {
      const parsed = parseCalls(text, format, TOOLS);
      if (invalid === undefined) {
        assert.deepEqual(parsed, { calls, content, ...(reasoning === undefined ? {} : { reasoning }) });
      } else if (invalid.startsWith("/")) assert.match(parsed.invalid ?? "", new RegExp(invalid.slice(1, -1)));
      else assert.deepEqual([parsed.invalid, parsed.calls], [invalid, []]);
    });
  }
});

Deno.test("parseCalls() reads json like llama_json", () => {
  for (const { format, text } of FIXTURES) {
    if (format === "llama_json") assert.deepEqual(parseCalls(text, "json"), parseCalls(text, "llama_json"));
  }
});

/** Pieces that formats give a meaning to. */
const PIECES = [
  ...["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "<function=", "</function>", "<parameter=", "<think>", "</think>"],
  ...["{", "}", "[", "]", "(", ")", '"', "'", "\\", ":", ",", "=", "\n", " ", "```", "<|channel|>", "<|message|>"],
  ...["<arg_key>", "<invoke name=", "\ud800", "é", "1e999", "-", "\0", '{"name":', "**{", "<｜tool▁call▁begin｜>"],
];

function mutated(text: string, random: RandomStream): string {
  const at = random.int(text.length + 1);
  const to = Math.min(text.length, at + random.int(12));
  const piece = PIECES[random.int(PIECES.length)]!;
  return [
    text.slice(0, at),
    text.slice(0, at) + text.slice(to),
    text.slice(0, at) + piece + text.slice(at),
    text.slice(0, at) + piece + text.slice(to),
    text + text.slice(at, to),
  ][random.int(5)]!;
}

Deno.test("parseCalls() never throws on cut or mangled text, and calls are plain data", () => {
  const random = draws("fuzz of formats");
  for (const { format, text } of FIXTURES) {
    for (let length = 0; length < text.length; length++) check(text.slice(0, length), format);
    for (let turn = 0; turn < 60; turn++) {
      let spoiled = mutated(text, random);
      if (turn % 2) spoiled = mutated(mutated(spoiled, random), random);
      check(spoiled, format);
      check(spoiled, FORMATS[random.int(FORMATS.length)]!);
    }
  }
});

function check(text: string, format: ToolFormat): void {
  const { calls, content, invalid } = parseCalls(text, format, TOOLS);
  assert.equal(typeof content, "string");
  assert.ok(invalid === undefined || (invalid.length > 0 && calls.length === 0), text);
  for (const { name, arguments: given } of calls) {
    assert.ok(name !== "" && typeof name === "string", text);
    assert.deepEqual(JSON.parse(JSON.stringify(given)), JSON.parse(JSON.stringify(structuredClone(given))), text);
  }
}

Deno.test("parseCalls() takes time in proportion to a text that repeats any mark", () => {
  const marks = [
    ...PIECES,
    "\n<parameter=a>",
    "<tool_call>\n",
    "\n[f(a=",
    '<tool_call>{"name":"a","arguments":{}}',
    "\n\n",
  ];
  for (const format of FORMATS) {
    for (const mark of marks) {
      const long = mark.repeat(Math.ceil(20_000 / mark.length));
      for (const text of [long, `<tool_call>${long}`, `<function=a>${long}`, `{"name":"a"${long}`, `[f(a="${long}`]) {
        check(text, format);
      }
    }
  }
});

const TEXTS = ["", "a", " b ", "ü 上海 🎉", 'say "hi"', "it's", "C:\\x\\n", "l1\nl2\n\n l4", "{}[](),=:", "null", "12"];
const MARKED = ["</think>", "<tool_call> </tool_call>", "[TOOL_CALLS]", '{"name":"x"}', "```", "</s>", "\t\r\0\u2028"];

function value(random: RandomStream, texts: string[], depth = 0): JsonObject[string] {
  const pick = random.int(depth > 2 ? 4 : 6);
  if (pick === 0) return texts[random.int(texts.length)]!;
  if (pick === 1) return [0, -1, 3.25, 1e21, 1e-7, 42][random.int(6)]!;
  if (pick === 2) return random.int(2) === 0;
  if (pick === 3) return depth === 0 ? texts[random.int(texts.length)]! : null;
  if (pick === 4) return Array.from({ length: random.int(4) }, () => value(random, texts, depth + 1));
  return Object.fromEntries(
    Array.from({ length: random.int(4) }, (_, i) => [`k${i} "é"`, value(random, texts, depth + 1)]),
  );
}

Deno.test("parseCalls() is the inverse of renderCall() for any name and arguments", () => {
  const random = draws("round trips");
  const letters = "abcXYZ019_-";
  const names = ["path", "max-results", "$filter", "_x", "a.b", "type", "name", "arguments", "__proto__", "größe"];
  for (let turn = 0; turn < 3000; turn++) {
    const format = FORMATS[turn % FORMATS.length]!;
    // Qwen's tags have no escapes: a value cannot hold the tags themselves.
    const texts = format === "qwen_xml" ? TEXTS : [...TEXTS, ...MARKED];
    const name = Array.from({ length: 1 + random.int(20) }, () => letters[random.int(letters.length)]).join("");
    const keys = new Set(Array.from({ length: random.int(5) }, () => names[random.int(names.length)]!));
    const given = Object.fromEntries([...keys].map((key) => [key, value(random, texts)]));
    const properties = Object.fromEntries(Object.entries(given).map(([key, one]) => [key, { type: typeOf(one) }]));
    const text = renderCall({ name, arguments: given }, format);
    const parsed = parseCalls(text, format, [tool(name, properties)]);
    assert.deepEqual(parsed, { calls: [{ name, arguments: given }], content: "" }, `${format}: ${text}`);
    if (format === "qwen_xml") continue;
    const twice = parseCalls(`${text}\n${text}`, format);
    if (format !== "pythonic") assert.equal(twice.calls.length, 2, `${format}: ${text}`);
  }
});

function typeOf(one: JsonObject[string]): string {
  return Array.isArray(one) ? "array" : one === null ? "null" : typeof one;
}
