/**
 * Calls between a family's own special tokens, as its models write them where no server took them out: DeepSeek,
 * Kimi, gpt-oss (harmony), and lists of JSON calls after a mark (Phi-4-mini, Granite 3, Nemotron, Command R).
 * @module
 */
import { readJson } from "./json_text.ts";
import type { WrittenCall } from "./pythonic.ts";
import { asCalls, type Invalid, jsonAt, type Reading, withArguments } from "./reading.ts";

/** A family: how to tell its calls in a text, and how to read them. */
interface Family {
  has: (text: string) => boolean;
  read: (text: string) => Reading;
}

/** The families in the order in which they are tried. */
export const families: Family[] = [
  { has: (text) => text.includes("<｜tool▁call"), read: deepseek },
  { has: (text) => text.includes("<|tool_call_begin|>"), read: kimi },
  { has: (text) => text.includes("<|channel|>") && text.includes("<|message|>"), read: harmony },
  { has: (text) => text.includes("<|tool_call|>"), read: (text) => listAfter(text, "<|tool_call|>") },
  { has: (text) => text.includes("<TOOLCALL>"), read: (text) => listAfter(text, "<TOOLCALL>") },
  { has: (text) => text.includes("<|START_ACTION|>"), read: (text) => listAfter(text, "<|START_ACTION|>") },
  { has: (text) => text.includes("functools["), read: (text) => listAfter(text, "functools") },
];

/** Version 3 writes `function`, the name, and fenced JSON; 3.1 the name and JSON. */
function deepseek(text: string): Reading {
  const [before, ...blocks] = text.split("<｜tool▁call▁begin｜>");
  if (blocks.length === 0) return { invalid: "no <｜tool▁call▁begin｜> follows <｜tool▁calls▁begin｜>" };
  return each(blocks, before!.replace("<｜tool▁calls▁begin｜>", ""), (block) => {
    if (!block.includes("<｜tool▁call▁end｜>")) {
      return { invalid: "the call is cut off: it has no <｜tool▁call▁end｜>" };
    }
    const [head, ...rest] = block.split("<｜tool▁sep｜>");
    const tail = rest.join("<｜tool▁sep｜>");
    const name = head!.trim() === "function" ? tail.split("\n")[0]! : head!;
    const opens = tail.indexOf("{");
    if (opens < 0) return { invalid: `the arguments of ${name.trim()} are not a JSON object` };
    return named(name.trim(), tail, opens);
  });
}

/** `functions.name:0`, then JSON. */
function kimi(text: string): Reading {
  const [before, ...blocks] = text.split("<|tool_call_begin|>");
  return each(blocks, before!.replace("<|tool_calls_section_begin|>", ""), (block) => {
    const [id, ...rest] = block.split("<|tool_call_argument_begin|>");
    const name = id!.trim().replace(/^functions\./, "").replace(/:?\d+$/, "");
    return named(name, rest.join("<|tool_call_argument_begin|>"), 0);
  });
}

/** Messages in channels: `analysis` is thought, `commentary to=functions.name` a call, the others are for the user. */
function harmony(text: string): Reading {
  const calls: WrittenCall[] = [];
  const said = { reasoning: [] as string[], rest: [] as string[] };
  const pieces = text.split("<|message|>");
  for (const [index, piece] of pieces.slice(1).entries()) {
    const header = pieces[index]!.split(/<\|(?:end|call|return)\|>/).at(-1)!;
    const body = piece.split(/<\|(?:end|call|return|start|channel)\|>/)[0]!;
    const recipient = /\bto=(?:functions\.)?([\w.-]+)/.exec(header)?.[1];
    if (recipient !== undefined) {
      const call = withArguments(recipient, readJson(body.trim() || "{}"));
      if ("invalid" in call) return call;
      calls.push(call);
    } else said[/<\|channel\|>\s*analysis/.test(header) ? "reasoning" : "rest"].push(body.trim());
  }
  const reasoning = said.reasoning.join("\n");
  return { calls, rest: said.rest.join("\n"), ...(reasoning ? { reasoning } : {}) };
}

/** A list of calls in JSON after `mark`; what follows it is not read. */
function listAfter(text: string, mark: string): Reading {
  const at = text.indexOf(mark);
  const read = jsonAt(text, at + mark.length, "the list of calls");
  if ("invalid" in read) return read;
  const listed = asCalls(read.value);
  return "invalid" in listed ? listed : { calls: listed.calls, rest: text.slice(0, at).trim() };
}

function each(blocks: string[], before: string, read: (block: string) => WrittenCall | Invalid): Reading {
  const calls: WrittenCall[] = [];
  for (const block of blocks) {
    const call = read(block);
    if ("invalid" in call) return call;
    calls.push(call);
  }
  return { calls, rest: before.trim() };
}

function named(name: string, text: string, from: number): WrittenCall | Invalid {
  const read = jsonAt(text, from, `the call of ${name || "a tool"}`);
  return "invalid" in read ? read : withArguments(name, read);
}
