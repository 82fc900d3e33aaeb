/**
 * Requests and questions in English for calls. Calls of a common shape (read a file, add two numbers) have phrases of
 * their own; others are put in the words of the tool's description.
 * @module
 */
import type { Json, ToolSpec } from "@hone/hone";
import { type Filled, type Leaf, nameOf } from "./argument_forms.ts";
import type { Fact } from "./facts.ts";

/** Phrases for calls whose tool and arguments are called so; `{path}` is an argument's value. */
interface Shape {
  tool: RegExp;
  leaves: string[];
  requests?: string[];
  /** Questions by the form of the fact that they ask for. */
  questions?: Partial<Record<Fact["form"], string[]>>;
}

const SHAPES: Shape[] = [
  {
    tool: /^(read|open|show)( \w+)* files?$/,
    leaves: ["path"],
    requests: ["Open the file {path}.", "Read the file {path}."],
    questions: {
      text: ["What does the file {path} say?", "Tell me what is written in {path}.", "Which text is in {path}?"],
    },
  },
  {
    tool: /^(read|open|show)( \w+)* files$/,
    leaves: ["paths"],
    questions: { text: ["What does the file {paths} say?", "Which words are in {paths}?"] },
  },
  {
    tool: /^(read|open|show)( \w+)* files?$/,
    leaves: ["head", "path"],
    questions: {
      text: [
        "What do the first {head} lines of {path} say?",
        "Read at most {head} lines from {path}, from its start. What do they say?",
      ],
    },
  },
  {
    tool: /^(read|open|show)( \w+)* files?$/,
    leaves: ["path", "tail"],
    questions: {
      text: [
        "What do the last {tail} lines of {path} say?",
        "Read at most {tail} lines from the end of {path}. What do they say?",
      ],
    },
  },
  {
    tool: /list.*(dir|folder)/,
    leaves: ["path"],
    requests: ["Look into the folder {path}.", "List what is in the folder {path}."],
    questions: {
      count: ["How many entries does the folder {path} have?", "Count what is in the folder {path}."],
      item: ["What is the name of the only entry in the folder {path}?", "Which file is in the folder {path}?"],
    },
  },
  {
    tool: /(dir|folder).*tree/,
    leaves: ["path"],
    questions: { count: ["How many entries does the tree of the folder {path} have at its top?"] },
  },
  {
    tool: /search.*file/,
    leaves: ["path", "pattern"],
    questions: {
      item: ["Search the folder {path} for {pattern}. Where is the match?"],
      text: ["Which path below {path} matches {pattern}?", "Search {path} for {pattern} and tell me the path."],
    },
  },
  {
    tool: /(write|create|save).*file/,
    leaves: ["path", "content"],
    requests: [
      "Write {content} to the file {path}.",
      "Save {content} as {path}.",
      "Make a file {path} that says {content}.",
    ],
  },
  {
    tool: /(create|make).*(dir|folder)/,
    leaves: ["path"],
    requests: ["Make a folder {path}.", "I need a folder called {path}.", "Create the folder {path}."],
  },
  {
    tool: /(move|rename).*file/,
    leaves: ["source", "destination"],
    requests: [
      "Move {source} to {destination}.",
      "Rename {source} to {destination}.",
      "{source} should be at {destination}.",
    ],
  },
  {
    tool: /edit.*file/,
    leaves: ["path", "old text", "new text"],
    requests: ["In the file {path}, replace {old text} with {new text}.", "Change {old text} to {new text} in {path}."],
  },
  {
    tool: /\b(sum|add|plus)\b/,
    leaves: ["a", "b"],
    requests: ["Add {a} and {b}."],
    questions: {
      number: ["What is {a} plus {b}?", "Add {a} and {b}. What do you get?", "How much is {a} and {b} together?"],
    },
  },
  {
    tool: /\becho\b/,
    leaves: ["message"],
    requests: ["Have the server repeat {message}.", "Send {message} to the server and have it sent back."],
  },
  {
    tool: /create entit/,
    leaves: ["name", "entity type", "observations"],
    requests: [
      "Remember {name}, which is of the type {entity type}, and this about it: {observations}.",
      "Note a new entity {name} of type {entity type} with the observation {observations}.",
    ],
  },
];

/** How values of leaves are shown, where not as themselves. */
export type Shown = Map<Leaf, string>;

function one<T>(items: readonly T[], variant: number): T {
  return items[variant % items.length]!;
}

/** A request to make the call; `variant` chooses among phrases. */
export function request(filled: Filled, variant: number, shown: Shown = new Map()): string {
  const shape = shapeOf(filled);
  const fitting = shape?.requests?.filter((text) => [...shown.keys()].every((leaf) => !isTyped(text, leaf)));
  if (fitting && fitting.length > 0) return put(one(fitting, variant), filled, shown);
  return described(filled, shown);
}

/** Whether a request reads well with a description in place of the value. */
export function canBeVague(filled: Filled, leaf: Leaf): boolean {
  const requests = shapeOf(filled)?.requests;
  return !requests || requests.some((text) => !isTyped(text, leaf));
}

/** Whether the text says what the value is: "the file {path}". */
function isTyped(text: string, leaf: Leaf): boolean {
  return /\b(file|folder|called|entity)$/.test(text.split(`{${nameOf(leaf)}}`)[0]!.trim());
}

/** A question that the fact answers. */
export function question(filled: Filled, { form, label }: Fact, variant: number, shown: Shown = new Map()): string {
  const asked = shapeOf(filled)?.questions?.[form];
  if (asked) return put(one(asked, variant), filled, shown);
  const subject = filled.values.map(({ leaf, value }) => shown.get(leaf) ?? quoted(value)).join(" and ");
  if (form === "field" && subject) return `What ${/[^s]s$/.test(label) ? "are" : "is"} the ${label} of ${subject}?`;
  const ending = {
    field: ` What is the ${label}?`,
    item: " What is the only entry?",
    count: label.endsWith("s") ? ` How many ${label} are there?` : ` How many entries does "${label}" have?`,
    number: " Which number do you get?",
    text: " What does it say?",
  };
  return request(filled, variant, shown) + ending[form];
}

/** A value as it is written in a task. */
export function quoted(value: Json): string {
  return typeof value === "string" ? `"${value}"` : JSON.stringify(value);
}

/** What an argument is, in words: its description if that is short, or else its name. */
export function argumentName(leaf: Leaf): string {
  const { description } = leaf.schema;
  const short = typeof description === "string" ? description.replace(/\.$/, "") : "";
  const plain = /^[A-Za-z][\w ]*$/.test(short) && short.split(" ").length <= 3;
  return plain ? short.toLowerCase() : nameOf(leaf);
}

function shapeOf({ form: { tool }, values }: Filled): Shape | undefined {
  const name = inWords(tool.name);
  const leaves = values.map(({ leaf }) => nameOf(leaf)).sort();
  return SHAPES.find((shape) => shape.tool.test(name) && String([...shape.leaves].sort()) === String(leaves));
}

function put(template: string, { values }: Filled, shown: Shown): string {
  return template.replaceAll(/\{([\w ]+)\}/g, (_, name: string) => {
    const { leaf, value } = values.find((one) => nameOf(one.leaf) === name)!;
    return shown.get(leaf) ?? quoted(value);
  });
}

/** The first sentence of the tool's description as a request, then the arguments. */
function described({ form: { tool }, values }: Filled, shown: Shown): string {
  const given = values.map(({ leaf, value }) => `${argumentName(leaf)} ${shown.get(leaf) ?? quoted(value)}`);
  const list = given.length > 1 ? `${given.slice(0, -1).join(", ")} and ${given.at(-1)}` : given[0];
  return `${imperative(tool)}${list ? `; ${list}` : ""}.`;
}

/** "Returns the sum" → "Return the sum". */
function imperative({ name, description }: ToolSpec): string {
  const sentence = /^[^.\n]{3,120}/.exec(description.trim())?.[0] ?? "";
  const [verb, ...rest] = sentence.split(" ");
  if (!verb || !/^[A-Z][a-z]+$/.test(verb) || rest.length === 0 || /^(A|An|The|This|It)$/.test(verb)) {
    const words = inWords(name);
    return words[0]!.toUpperCase() + words.slice(1);
  }
  return [stem(verb), ...rest].join(" ").replace(/[,;:\s]+$/, "");
}

function stem(verb: string): string {
  if (/ies$/.test(verb)) return verb.replace(/ies$/, "y");
  if (/(o|ch|sh|ss|x|zz)es$/.test(verb)) return verb.slice(0, -2);
  return /[^su]s$/.test(verb) ? verb.slice(0, -1) : verb;
}

function inWords(name: string): string {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll(/[_\-.]+/g, " ").toLowerCase();
}
