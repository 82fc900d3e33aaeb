/**
 * Potential problems with a server's tools, one line each: schemas that cannot be checked, tools that a model cannot
 * distinguish, and text that instructs the model instead of describing a tool. Examines only listed tools; calls
 * nothing.
 * @module
 */
import type { ToolSpec } from "../../events.ts";
import { schemaProblem, uncheckedPatterns } from "../../common/schema_check.ts";

const MANY_TOOLS = 64;
/** More tools with the same risk than this share one line. */
const SINGLE_LINES = 3;
const LONG_TOKENS = 1000;
const SHOWN_CHARS = 80;

/** Phrases that instruct the model: to hide something, to ignore the prompt, to call this before anything else. */
const ORDERS = [
  /\b(ignore|disregard|forget|override)\b[^.\n]{0,30}\b(previous|prior|above|earlier|other|all)\b[^.\n]{0,30}\b(instructions?|prompts?|rules?|tools?)\b/i,
  /\b(do not|don't|never|without)\b[^.\n]{0,20}\b(tell|telling|mention|inform|informing|show|reveal)\b[^.\n]{0,20}\b(the )?user\b/i,
  /<\/?(important|system|secret|instructions?|hidden)>/i,
  /\b(always|must|first)\b[^.\n]{0,40}\b(before|instead of)\b[^.\n]{0,20}\b(any|every|all|other)\b[^.\n]{0,20}\btools?\b/i,
  /\b(system prompt|chain of thought|conversation history|api keys?|\.ssh|id_rsa)\b[^.\n]{0,60}\b(argument|parameter|field|pass|send|include)\b/i,
];

/** One kind of risk: how a single tool's line goes, and how several go together. */
interface Risk {
  line: (tool: ToolSpec, detail: string) => string;
  together: (count: number, list: string) => string;
  /** What is wrong with a tool, as far as this risk goes; null where nothing is. */
  of: (tool: ToolSpec, all: ToolSpec[]) => string | null;
  /** How a tool is named in the line that several share. */
  named?: (tool: ToolSpec, detail: string) => string;
}

const RISKS: Risk[] = [
  {
    of: ({ input_schema }) => schemaProblem(input_schema),
    line: ({ name }, problem) => `${name}: its input schema cannot be used to check arguments (${problem})`,
    together: (count, list) => `${count} tools have input schemas that cannot be used to check arguments: ${list}`,
  },
  {
    of: ({ input_schema }) => shortened(uncheckedPatterns(input_schema)),
    line: ({ name }, patterns) =>
      `${name}: arguments are not checked against patterns of its input schema: ${patterns}`,
    together: (count, list) => `${count} tools have patterns that arguments are not checked against: ${list}`,
    named: ({ name }, patterns) => `${name} (${patterns})`,
  },
  {
    of: ({ input_schema }) => schemaProblem(input_schema) === null && !input_schema.properties ? "" : null,
    line: ({ name }) => `${name}: its input schema names no arguments`,
    together: (count, list) => `${count} tools have input schemas that name no arguments: ${list}`,
  },
  {
    of: ({ description }) => description.trim() === "" ? "" : null,
    line: ({ name }) => `${name}: no description`,
    together: (count, list) => `${count} tools have no description: ${list}`,
  },
  {
    of: ({ name, model_name }) => name === model_name ? null : model_name,
    line: ({ name }, seen) => `${name}: models see it as ${seen}`,
    together: (count, list) => `${count} tools are renamed for models: ${list}`,
    named: ({ name }, seen) => `${name} as ${seen}`,
  },
  {
    of: (tool, all) => {
      const twin = all.find((other) => other !== tool && isTwin(tool, other));
      return twin ? `${twin.server}/${twin.name}` : null;
    },
    line: ({ name }, twin) => `${name}: hard to tell from ${twin}`,
    together: (count, list) => `${count} tools are hard to tell from others: ${list}`,
    named: ({ name }, twin) => `${name} from ${twin}`,
  },
  {
    of: ({ tokens }) => tokens > LONG_TOKENS ? tokens.toLocaleString("en-US") : null,
    line: ({ name }, tokens) => `${name}: about ${tokens} tokens for one tool`,
    together: (count, list) => `${count} tools take over ${LONG_TOKENS.toLocaleString("en-US")} tokens each: ${list}`,
    named: ({ name }, tokens) => `${name} about ${tokens}`,
  },
  {
    of: (tool) => orderIn(texts(tool)),
    line: ({ name }, order) => `${name}: its text gives the model orders: ${order}`,
    together: (count, list) => `${count} tools have texts that give the model orders: ${list}`,
    named: ({ name }, order) => `${name} (${order})`,
  },
  {
    of: (tool) => /[\p{Cf}\p{Co}]|[\u{e0000}-\u{e007f}]/u.test(texts(tool).replaceAll("\u{200d}", "")) ? "" : null,
    line: ({ name }) => `${name}: its text has characters that cannot be seen`,
    together: (count, list) => `${count} tools have texts with characters that cannot be seen: ${list}`,
  },
];

/** What may go wrong with a server's own tools among all tools. */
export function risksOf(own: ToolSpec[], all: ToolSpec[]): string[] {
  const risks = own.length ? [] : ["it lists no tools: it may want a setting or a key"];
  if (own.length > MANY_TOOLS) risks.push(`${own.length} tools: models choose badly among more than ${MANY_TOOLS}`);
  for (const risk of RISKS) {
    const found = own.flatMap((tool) => {
      const detail = risk.of(tool, all);
      return detail === null ? [] : [{ tool, detail }];
    });
    if (found.length <= SINGLE_LINES) risks.push(...found.map(({ tool, detail }) => risk.line(tool, detail)));
    else {
      const names = found.slice(0, SINGLE_LINES).map(({ tool, detail }) => risk.named?.(tool, detail) ?? tool.name);
      risks.push(risk.together(found.length, `${names.join(", ")}, …`));
    }
  }
  return risks;
}

function shortened(patterns: string[]): string | null {
  const [first, ...more] = patterns;
  if (first === undefined) return null;
  const shown = first.length > SHOWN_CHARS ? `${first.slice(0, SHOWN_CHARS)}…` : first;
  return more.length > 0 ? `${shown}, and ${more.length} more` : shown;
}

function isTwin(tool: ToolSpec, other: ToolSpec): boolean {
  const bare = ({ name }: ToolSpec) => name.toLowerCase().replace(/[^a-z0-9]/g, "");
  const known = bare(tool) !== "" && bare(tool) === bare(other);
  return known || (tool.description !== "" && tool.description === other.description);
}

/** All that a model reads of a tool. */
function texts({ name, description, input_schema }: ToolSpec): string {
  const found: string[] = [name, description];
  const walk = (value: unknown, depth: number) => {
    if (typeof value === "string") found.push(value);
    else if (typeof value === "object" && value !== null && depth < 20) {
      for (const inner of Object.values(value)) walk(inner, depth + 1);
    }
  };
  walk(input_schema, 0);
  return found.join("\n");
}

function orderIn(text: string): string | null {
  const found = ORDERS.map((order) => order.exec(text)?.[0]).find((match) => match !== undefined);
  return found === undefined ? null : JSON.stringify(found.replace(/\s+/g, " ").slice(0, SHOWN_CHARS));
}
