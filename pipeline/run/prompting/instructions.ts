/**
 * Instructions to try without a language model: a few fixed texts, filled in with the names of the tools. The same
 * tools give the same texts.
 * @module
 */
import type { ToolSpec } from "../../events.ts";

/** Tools that a text names, at most. */
const MOST_TOOLS = 12;

/** Instructions, to be added to a system prompt. */
export interface Instructions {
  /** What they are about, in words. */
  about: string;
  text: string;
}

/** The texts, the most general ones first. */
export function fixedInstructions(tools: readonly ToolSpec[]): Instructions[] {
  if (tools.length === 0) return [SHORT, STEPS];
  const readers = tools.filter(({ annotations }) => annotations.read_only === true);
  const looks = readers.length > 0 && readers.length < tools.length;
  return [
    {
      about: "call tools",
      text:
        "Do what the task asks by calling the tools. Make the calls instead of describing them, one at a time, and read " +
        "each result before you continue. When the task is done, stop calling tools and answer.",
    },
    {
      about: "arguments",
      text: "Copy names, paths and values from the task exactly. Give every call all of its required arguments: " +
        listed(tools.map(signature), "; ") + ".",
    },
    {
      about: "errors",
      text:
        "If a tool returns an error, read it, correct the call and try again; never repeat a failed call unchanged.",
    },
    ...(looks
      ? [{
        about: "look first",
        text: `Do not guess. What the task does not say, find out first with ${listed(readers.map(nameOf), ", ")}.`,
      }]
      : []),
    SHORT,
  ];
}

const SHORT: Instructions = {
  about: "short answers",
  text: "Answer with the result alone, in as few words as possible.",
};

const STEPS: Instructions = {
  about: "steps",
  text: "Think about the task step by step, then give the result in the last line.",
};

/** `write_file(path, content)`: the required arguments. */
function signature({ model_name, input_schema }: ToolSpec): string {
  const required = Array.isArray(input_schema.required) ? input_schema.required.map(String) : [];
  return `${model_name}(${required.join(", ")})`;
}

function nameOf({ model_name }: ToolSpec): string {
  return model_name;
}

function listed(texts: string[], separator: string): string {
  return texts.slice(0, MOST_TOOLS).join(separator);
}
