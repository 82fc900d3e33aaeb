import assert from "node:assert/strict";
import type { ToolSpec } from "../events.ts";
import type { ToolFormat } from "../plugin.ts";
import { clip, parseCalls, renderCall, renderTools, resultMessages } from "./formats.ts";

const move: ToolSpec = {
  server: "files",
  name: "move_file",
  model_name: "move_file",
  description: "Move or rename files and directories. Can move files between directories.",
  input_schema: {
    type: "object",
    properties: { source: { type: "string" }, destination: { type: "string" } },
    required: ["source", "destination"],
  },
  annotations: {},
  tokens: 0,
};
const read: ToolSpec = {
  ...move,
  name: "read",
  model_name: "read",
  description: "Read a file",
  input_schema: {
    type: "object",
    properties: {
      path: { type: "string" },
      head: { type: "number" },
      tags: { type: "array", items: { type: "string" } },
      mode: { enum: ["a", "b"] },
      extra: { type: "object" },
      flag: { type: "boolean" },
      maybe: { anyOf: [{ type: "string" }, { type: "null" }] },
    },
    required: ["path"],
  },
};
const call = { name: "move_file", arguments: { source: "a.txt", destination: 'b "x"\n.txt' } };
const FORMATS: ToolFormat[] = ["native", "hermes", "json", "llama_json", "qwen_xml", "pythonic", "mistral"];

Deno.test("parseCalls() reads back what renderCall() wrote in every format", () => {
  const rich = {
    name: "read",
    arguments: { path: "ü.txt", head: 3, tags: ["x", "y"], extra: { a: [1.5, null, true] }, flag: false },
  };
  for (const format of FORMATS) {
    assert.deepEqual(parseCalls(renderCall(call, format), format, [move]), { calls: [call], content: "" }, format);
    assert.deepEqual(parseCalls(renderCall(rich, format), format, [read]), { calls: [rich], content: "" }, format);
  }
});

Deno.test("parseCalls() takes text without marks as an answer in every format", () => {
  for (const format of FORMATS) {
    assert.deepEqual(parseCalls(" Done. ", format), { calls: [], content: "Done." }, format);
    assert.deepEqual(parseCalls("", format), { calls: [], content: "" }, format);
    assert.deepEqual(parseCalls("See [1] and {x}, then f(x).", format).invalid, undefined, format);
  }
});

Deno.test("parseCalls() reads llama_json as models write it", () => {
  const list = { name: "list", arguments: { path: "." } };
  const texts = [
    '{"name": "list", "parameters": {"path": "."}}',
    '<|python_tag|>{"name": "list", "parameters": {"path": "."}}<|eom_id|>',
    '```json\n{"name":"list","arguments":{"path":"."}}\n```',
    '{"type": "function", "function": {"name": "list", "arguments": "{\\"path\\": \\".\\"}"}}',
    '{"type": "function", "name": "list", "parameters": {"path": "."}}',
    '{"function": "list", "arguments": {"path": "."}}',
  ];
  for (const text of texts) assert.deepEqual(parseCalls(text, "llama_json").calls, [list], text);
  const two = parseCalls(
    '{"name":"list","arguments":{"path":"."}}; {"name":"list","arguments":{"path":"."}}',
    "llama_json",
  );
  assert.deepEqual(two.calls, [list, list]);
  assert.deepEqual(parseCalls('{"name":"now"}', "llama_json").calls, [{ name: "now", arguments: {} }]);
  assert.deepEqual(
    parseCalls('I will look. {"name":"list","arguments":{"path":"."}}', "llama_json").content,
    "I will look.",
  );
});

Deno.test("parseCalls() leaves JSON that is no call as the answer", () => {
  const answer = parseCalls('{"total": 3, "name": "Ann"}', "llama_json");
  assert.deepEqual(answer, { calls: [], content: '{"total": 3, "name": "Ann"}' });
});

Deno.test("parseCalls() says why a malformed call cannot be read", () => {
  const cases: [ToolFormat, string, string][] = [
    ["llama_json", '{"name":"list","arguments":{"path":"."}', "the call is cut off: its braces do not close"],
    ["llama_json", '{"arguments":{"path":"."}}', "the call has no name"],
    ["llama_json", '{"name":"list","arguments":["."]}', "the arguments of list are not a JSON object"],
    ["llama_json", "{name: list}", "the call is not JSON"],
    [
      "hermes",
      '<tool_call>\n{"name": "list"\n</tool_call>',
      "the call is not JSON: Expected ',' or '}' after property value in JSON at position 15 (line 1 column 16)",
    ],
    ["hermes", '{"name": "list", "arguments": {}}', "the call is not between <tool_call> and </tool_call>"],
    ["hermes", "<tool_call>\n[]\n</tool_call>", 'a call is an object: {"name": …, "arguments": {…}}'],
    ["qwen_xml", "<tool_call>\nlist\n</tool_call>", "the call has no <function=…>"],
    ["qwen_xml", "<tool_call><function=></function></tool_call>", "the call has no name"],
    ["qwen_xml", "list</tool_call>", "the call is not between <tool_call> and </tool_call>"],
    ["pythonic", '[list(path=".")', 'the call cannot be read: wanted "]" at character 15'],
    ["pythonic", "[list(path=open('x'))]", "the call cannot be read: wanted a value at character 15"],
    ["pythonic", '[list(".")]', "the call cannot be read: wanted the name of an argument at character 6"],
    ["mistral", "[TOOL_CALLS]", "after [TOOL_CALLS] comes a name and its arguments as JSON"],
    ["mistral", '[TOOL_CALLS]list{"path"', "the call of list is cut off: its braces do not close"],
    ["mistral", '[TOOL_CALLS][{"name": "list"', "the list of calls is cut off: its braces do not close"],
  ];
  for (const [format, text, reason] of cases) {
    const parsed = parseCalls(text, format);
    assert.equal(parsed.invalid, reason, text);
    assert.deepEqual(parsed.calls, [], text);
  }
});

Deno.test("parseCalls() reads hermes with text before it, several blocks, and a missing last tag", () => {
  const text =
    'Let me see.\n<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>\n<tool_call>\n{"name": "b", "arguments": {"x": 1}}';
  const parsed = parseCalls(text, "hermes");
  assert.deepEqual(parsed.calls, [{ name: "a", arguments: {} }, { name: "b", arguments: { x: 1 } }]);
  assert.equal(parsed.content, "Let me see.");
});

Deno.test("parseCalls() types qwen_xml values by the tool's schema and keeps lines of text", () => {
  const text =
    "<tool_call>\n<function=read>\n<parameter=path>\n12\n</parameter>\n<parameter=head>\n12\n</parameter>\n" +
    "<parameter=flag>\nTrue\n</parameter>\n<parameter=maybe>\nnull\n</parameter>\n<parameter=other>\na\n\n  b\n</parameter>\n</function>\n</tool_call>";
  assert.deepEqual(parseCalls(text, "qwen_xml", [read]).calls, [
    { name: "read", arguments: { path: "12", head: 12, flag: true, maybe: null, other: "a\n\n  b" } },
  ]);
});

Deno.test("parseCalls() reads all three mistral spellings", () => {
  const list = { name: "list", arguments: { path: "." } };
  for (
    const text of [
      '[TOOL_CALLS][{"name": "list", "arguments": {"path": "."}}]</s>',
      '[TOOL_CALLS]list{"path": "."}',
      '[TOOL_CALLS]list[CALL_ID]AbCdEfGhI[ARGS]{"path": "."}',
    ]
  ) assert.deepEqual(parseCalls(text, "mistral").calls, [list], text);
  assert.equal(parseCalls('[TOOL_CALLS]a{}[TOOL_CALLS]b{"x":1}', "mistral").calls.length, 2);
});

Deno.test("parseCalls() reads Python literals without evaluating anything", () => {
  const text = "<|python_start|>[f(a='it\\'s \\u00fc', b=-1.5e3, c=[True, None], d={'k': (1, 2)}), g()]<|python_end|>";
  assert.deepEqual(parseCalls(text, "pythonic").calls, [
    { name: "f", arguments: { a: "it's ü", b: -1500, c: [true, null], d: { k: [1, 2] } } },
    { name: "g", arguments: {} },
  ]);
});

Deno.test("parseCalls() keeps thoughts apart", () => {
  const json = '{"name":"a","arguments":{}}';
  assert.deepEqual(parseCalls(`<think>\nfirst ${json}\n</think>\n${json}`, "llama_json"), {
    calls: [{ name: "a", arguments: {} }],
    content: "",
    reasoning: `first ${json}`,
  });
  assert.equal(parseCalls("opened by the template</think>Yes.", "hermes").reasoning, "opened by the template");
  assert.equal(parseCalls("opened by the template</think>Yes.", "hermes").content, "Yes.");
  assert.deepEqual(parseCalls("<think>never ends", "llama_json"), { calls: [], content: "", reasoning: "never ends" });
});

Deno.test("parseCalls() survives hostile text", () => {
  const deep = "[".repeat(50_000);
  const texts = [
    deep,
    `{"name":"a","arguments":${deep}`,
    `[f(x=${deep})]`,
    "{".repeat(50_000),
    '{"name":'.repeat(10_000),
    "\\",
    "\ud800",
  ];
  for (const format of FORMATS) {
    for (const text of texts) assert.deepEqual(parseCalls(text, format, [move]).calls, [], format);
  }
  const proto = parseCalls('{"name":"a","arguments":{"__proto__":{"x":1}}}', "llama_json").calls[0]!;
  assert.deepEqual(Object.keys(proto.arguments), ["__proto__"]);
  assert.equal(({} as { x?: number }).x, undefined);
});

Deno.test("renderTools() gives one line a tool, and nothing for native", () => {
  assert.equal(
    renderTools([move, read], "json"),
    "Tools:\nmove_file(source, destination): Move or rename files and directories\n" +
      'read(path, head?: number, tags?: string[], mode?: "a"|"b", extra?: object, flag?: boolean, maybe?): Read a file\n' +
      'To use a tool, answer only with JSON: {"name":"tool","arguments":{"key":"value"}}',
  );
  assert.equal(renderTools([move], "native"), "");
  assert.equal(renderTools([], "hermes"), "");
});

Deno.test("resultMessages() answers in the role that the template knows", () => {
  const results = [{ id: "c1", outcome: "ok" as const, text: "one" }, {
    id: "c2",
    outcome: "tool_error" as const,
    text: "two",
  }];
  assert.deepEqual(resultMessages(results, "llama_json"), [{ role: "user", content: "Result:\none\nError: two" }]);
  assert.deepEqual(resultMessages(results, "native"), [
    { role: "tool", content: "one", tool_call_id: "c1" },
    { role: "tool", content: "Error: two", tool_call_id: "c2" },
  ]);
  assert.deepEqual(resultMessages([{ outcome: "ok", text: "" }], "llama_json"), [{
    role: "user",
    content: "Result:\n(empty)",
  }]);
  assert.equal(resultMessages([results[0]!], "hermes")[0]!.content, "<tool_response>\none\n</tool_response>");
});

Deno.test("clip() says what it left out and never halves a character", () => {
  assert.deepEqual(clip("abc", 3), { text: "abc", truncated: false });
  assert.deepEqual(clip("abcd", 3), { text: "abc\n[cut: 1 of 4 characters left out]", truncated: true });
  assert.equal(clip("ab😀d", 3).text.split("\n")[0], "ab");
});
