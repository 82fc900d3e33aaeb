/**
 * Verbs as MCP tools. Flags and arguments of a verb are the fields of its tool, the result is the verb's value, and the
 * annotations follow from the verb's effect. Tools that read (or only regenerate files) are always offered; those that
 * act or run programs only with `--allow-run`. Long-running verbs run in a separate process, which is polled.
 * @module
 */
import type { CallToolResult, ToolAnnotations } from "@modelcontextprotocol/server";
import { z } from "zod";
import { VERBS } from "../verbs/mod.ts";
import { type Caller, type Positional, shownAs, type Verb } from "../verbs/verb.ts";
import { inside } from "./inside.ts";
import { flags, launch } from "./launch.ts";
import { answered, result } from "./tool_results.ts";

/** A tool, ready to be registered. */
export interface HoneTool {
  name: string;
  description: string;
  input: z.ZodObject;
  /** Schema of its structured content; absent if the value has more than one form. */
  output?: z.ZodType;
  annotations: ToolAnnotations;
  call(input: Record<string, unknown>, signal: AbortSignal): Promise<CallToolResult>;
}

/** The tools of a server: those that need no permission, and with `allow_run` all. */
export async function honeTools(allow_run: boolean): Promise<HoneTool[]> {
  const verbs = await offered();
  return verbs.filter((verb) => allow_run || isFree(verb)).map((verb) => toolOf(verb, allow_run));
}

/** Names of the tools that need no permission, and of those that `--allow-run` adds. */
export async function toolNames(): Promise<{ free: string[]; allowed: string[] }> {
  const { true: free = [], false: allowed = [] } = Object.groupBy(await offered(), (verb) => `${isFree(verb)}`);
  return { free: free.map(toolName), allowed: allowed.map(toolName) };
}

/** A verb of two words has a tool name of one. */
function toolName({ name }: Verb): string {
  return name.replaceAll(" ", "_");
}

async function offered(): Promise<Verb[]> {
  const verbs = await Promise.all(VERBS.map(async ({ load }) => (await load()).default));
  return verbs.filter((verb) => !verb.terminal_only);
}

function isFree({ effect, harmless }: Verb): boolean {
  return effect === "reads" || harmless === true;
}

function toolOf(verb: Verb, allow_run: boolean): HoneTool {
  return {
    name: toolName(verb),
    description: describe(verb, allow_run),
    input: inputOf(verb),
    output: outputOf(verb),
    annotations: annotationsOf(verb),
    call: (input, signal) =>
      answered(async () => {
        const { args, positional } = taken(verb, input);
        if (!verb.detached) return await ran(verb, args, positional, { allow_run, signal });
        const { run_dir, words } = await verb.detached(positional);
        return await launch([...verb.name.split(" "), ...words, ...flags(args), "--format", "json"], run_dir, signal);
      }),
  };
}

function describe({ summary, description, detached, restricted }: Verb, allow_run: boolean): string {
  return [
    summary,
    description,
    ...(detached
      ? ["Returns a run id as soon as the run has started; poll `status` for progress, `query` for its records."]
      : []),
    ...(restricted && !allow_run ? [restricted] : []),
  ].join(" ");
}

function annotationsOf({ effect, harmless }: Verb): ToolAnnotations {
  return {
    readOnlyHint: effect === "reads",
    ...(harmless && { destructiveHint: false }),
    openWorldHint: effect === "runs",
    idempotentHint: effect !== "runs",
  };
}

/** Positional arguments first, then the flags that are not terminal-only. */
function inputOf(verb: Verb): z.ZodObject {
  const positional = verb.positional.map((one): [string, z.ZodType] => {
    const { description, optional, variadic } = one;
    const field = (variadic ? z.array(z.string()) : z.string()).describe(description);
    return [fieldOf(one), optional ? field.optional() : field];
  });
  const flags = Object.entries((verb.args as z.ZodObject).shape as Record<string, z.ZodType>)
    .filter(([, flag]) => !flag.meta()?.terminal_only);
  return z.strictObject(Object.fromEntries([...positional, ...flags]));
}

/** Undefined for long-running verbs, which first return a handle, and for unions, which MCP clients may not support. */
function outputOf({ detached, result }: Verb): z.ZodType | undefined {
  return detached || result instanceof z.ZodUnion ? undefined : result;
}

function fieldOf({ name }: Positional): string {
  return name.replaceAll(/[^a-z0-9]+/gi, "_");
}

function taken(verb: Verb, input: Record<string, unknown>) {
  const fields = verb.positional.map(fieldOf);
  const positional = fields.flatMap((field) => input[field] ?? []) as string[];
  const args = Object.fromEntries(Object.entries(input).filter(([name]) => !fields.includes(name)));
  return { positional, args };
}

async function ran(
  verb: Verb,
  given: Record<string, unknown>,
  positional: string[],
  { allow_run, signal }: { allow_run: boolean; signal: AbortSignal },
): Promise<CallToolResult> {
  const notes: string[] = [];
  const value = await verb.run({
    args: verb.args.parse(given),
    positional,
    signal,
    caller: clientOf(notes, allow_run),
  });
  const failed = (verb.exit?.(value) ?? 0) !== 0 && !verb.exit_is_result;
  const text = shownAs("json", value, verb);
  return result([text, notes.join("\n")], JSON.parse(text), failed);
}

/** The caller of a tool call: collects notes for the result, shows no progress and asks nothing; see `inside`. */
function clientOf(notes: string[], allow_run: boolean): Caller {
  return {
    loads_code: allow_run,
    note: (text) => void notes.push(text),
    progress() {},
    log() {},
    event() {},
    confirm: () => Promise.resolve(null),
    within: inside,
    open: () => Promise.resolve(),
  };
}
