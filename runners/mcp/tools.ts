/**
 * Verbs as MCP tools: one description, two surfaces. Flags and arguments of a verb are the fields of its tool, results
 * are the verb's JSON. Tools that read (and `report`, which writes a run's own
 * reports anew) are always there; those that start programs, write or stop runs only with `--allow-run`, and a run is always a process of its own, which is asked about afterwards.
 * @module
 */
import type { CallToolResult, ToolAnnotations } from "@modelcontextprotocol/server";
import { z } from "zod";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { KINDS } from "../../pipeline/loader.ts";
import { builtins } from "../../plugins/mod.ts";
import type { Positional, Verb } from "../verbs/verb.ts";
import { VERBS } from "../verbs/mod.ts";
import { launch } from "./launch.ts";
import { answered, result } from "./tool_results.ts";

/** A tool, ready to be registered. */
export interface HoneTool {
  name: string;
  description: string;
  input: z.ZodObject;
  annotations: ToolAnnotations;
  call(input: Record<string, unknown>, signal: AbortSignal): Promise<CallToolResult>;
}

const READ = ["validate", "list", "runs", "query", "report", "doctor"];
/** Of these, what writes after all: the reports of a run that is there. */
const REWRITES = ["report"];
const ACT = ["discover", "call", "new", "pause", "cancel"];
const LONG = ["run", "resume", "evaluate"];
/** Verbs whose exit code is part of the answer, and no failure of the tool. */
const ANSWERS = ["validate", "doctor"];
/** Flags that only make sense for a person at a terminal, or that consent has settled. */
const PERSONAL = ["open", "yes", "verbose", "run_dir"];

/** The tools of a server: those that read, and with `allow_run` all. */
export async function honeTools(allow_run: boolean): Promise<HoneTool[]> {
  const wanted = allow_run ? [...READ, ...LONG, ...ACT] : READ;
  const entries = wanted.map((name) => VERBS.find((entry) => entry.name === name)!);
  return await Promise.all(entries.map(async ({ load }) => toolOf((await load()).default, allow_run)));
}

function toolOf(verb: Verb, allow_run: boolean): HoneTool {
  const { name } = verb;
  const long = LONG.includes(name);
  const after = long
    ? " Returns a run id as soon as the run has started; ask `status` how far it is, `query` for its records."
    : name === "validate" && !allow_run
    ? " This server looks at the text alone: plugins of your own are not loaded, paths and variables not looked up."
    : "";
  return {
    name,
    description: `${verb.summary} ${verb.description}${after}`,
    input: inputOf(verb),
    annotations: {
      readOnlyHint: READ.includes(name) && !REWRITES.includes(name),
      ...(REWRITES.includes(name) && { destructiveHint: false }),
      openWorldHint: !READ.includes(name),
      idempotentHint: !long,
    },
    call: (input, signal) =>
      answered(async () => {
        if (!allow_run) guard(name, input);
        const { args, positional } = taken(verb, input);
        if (long) return await launch(verb, args, positional, signal);
        return await ran(
          verb,
          allow_run || name !== "validate" ? args : { ...args, text_only: true },
          positional,
          signal,
        );
      }),
  };
}

/** Loading a plugin runs its code: without `--allow-run` only built-ins are shown. */
function guard(name: string, { plugin }: Record<string, unknown>) {
  if (name !== "list" || plugin === undefined) return;
  if (Object.hasOwn(builtins, String(plugin)) || KINDS.some((kind) => kind === plugin)) return;
  throw new HoneError(cli.plugin_not_allowed(String(plugin), Object.keys(builtins)));
}

/** Positional arguments first, then flags. */
function inputOf(verb: Verb): z.ZodObject {
  const positional = verb.positional.map((one): [string, z.ZodType] => {
    const { description, optional, variadic } = one;
    const field = (variadic ? z.array(z.string()) : z.string()).describe(description);
    return [fieldOf(one), optional ? field.optional() : field];
  });
  const flags = Object.entries((verb.args as z.ZodObject).shape).filter(([name]) => !PERSONAL.includes(name));
  return z.strictObject(Object.fromEntries([...positional, ...flags]));
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

async function ran(verb: Verb, args: Record<string, unknown>, positional: string[], signal: AbortSignal) {
  const said = { out: [] as string[], err: [] as string[] };
  const code = await verb.run({
    args: verb.args.parse(args),
    positional,
    out: (text) => void said.out.push(text),
    err: (text) => void said.err.push(text),
    signal,
    format: (verb.formats ?? ["json"]).includes("json") ? "json" : "text",
  });
  const failed = code !== 0 && !ANSWERS.includes(verb.name);
  return result(said.out.join("\n"), said.err.join("\n"), failed);
}
