/**
 * The form of a verb: one file each, and its line in `mod.ts`, are all that a verb is. It takes parsed arguments and
 * returns a value. Whoever calls it shows the value: the command line prints it, the MCP runner answers with it. What a
 * verb has to say or ask before it is done goes through its caller.
 * @module
 */
import type { z } from "zod";
import type { Envelope } from "../../pipeline/events.ts";
import type { ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";

/** What verbs do to the world, and how help says it. */
export const EFFECTS = {
  reads: "It reads: nothing is changed.",
  acts: "It acts: it writes files, or asks a live run to stop.",
  runs: "It runs programs: servers, workers, plugins.",
} as const;

/** What a verb does to the world. */
export type Effect = keyof typeof EFFECTS;

/** One positional argument. */
export interface Positional {
  name: string;
  description: string;
  optional?: boolean;
  /** Takes all that remain; only the last may. */
  variadic?: boolean;
  /** May be a command with flags of its own, which then stands after `--`. */
  command?: boolean;
}

/** What a verb is asked. */
export interface Asked<A> {
  /** The flags, parsed by the verb's own schema. */
  args: A;
  /** Positional arguments in order; a variadic one is the rest. */
  positional: string[];
}

/** What `run` receives. */
export interface VerbCall<A> extends Asked<A> {
  signal: AbortSignal;
  caller: Caller;
}

/** Whoever waits for a verb: a person at a terminal, an MCP client, nobody. */
export interface Caller {
  /** False where code that the caller names, as a plugin by its path, must not be loaded. */
  readonly loads_code: boolean;
  /** Something to know that is not the result. */
  note(text: string): void;
  /** A new unit of work; `read` gives the reading of any moment. */
  progress(read: () => ProgressSnapshot): void;
  /** A line of the work's own log. */
  log(level: "debug" | "info" | "warn", line: string): void;
  /** An event of a run that is followed. */
  event(event: Envelope): void;
  /** Shows what is to be agreed to, and asks; true too where nobody is there to be asked. */
  confirm(question: string, shown: string): Promise<boolean>;
  /** Opens a file for the person to look at. */
  open(file: string): Promise<void>;
}

/**
 * A verb. Flags are the fields of `args`: `max_rows` is `--max-rows`. The value `R` may hold more than `J`, which programs
 * are told, where its text or its exit code needs more; such a verb makes its own JSON in `formats`.
 */
// deno-lint-ignore no-explicit-any -- whoever calls a verb hands its value from `run` to `text` and looks into neither
export interface Verb<S extends z.ZodType = z.ZodType, J = unknown, R extends J = any> {
  name: string;
  /** One line. */
  summary: string;
  /** What it does and leaves, in a few sentences. */
  description: string;
  effect: Effect;
  positional: Positional[];
  /** A strict object schema; every field described. */
  args: S;
  /** The value as JSON: `--format json`, and MCP's structured content. */
  result: z.ZodType<J>;
  /** Whole command lines. */
  examples: string[];
  /** Resolves to the value; throws HoneError for what the person can act on. */
  run(call: VerbCall<z.output<S>>): Promise<R>;
  /** Forms of the value beside its text, by their names for `--format`; JSON on one line when left out. */
  formats?: Record<string, (value: R) => string>;
  /** The value in words; empty where there is nothing to say. */
  text(value: R, asked: Asked<z.output<S>>): string;
  /** What a person who reads the text should know beside it, one line each. */
  remarks?(value: R, asked: Asked<z.output<S>>): string[];
  /** Exit code; 0 when left out. */
  exit?(value: R): number;
  /** What it hands to `Caller.event` on the way is its result: the command line shows that, and not the value. */
  streams?: true;
  /** An exit code other than 0 answers what was asked, and is no failure. */
  exit_is_result?: true;
  /** Of a verb that acts: what it writes is made from what is there, so that nobody needs to allow it. */
  harmless?: true;
  /** Of a verb that may load the caller's code: what it leaves out where it must not. */
  restricted?: string;
  /** Only for a person at a terminal, as are the flags marked by `terminalOnly`. */
  terminal_only?: true;
  /** Of a verb that takes long: the run that it will work on, and the words that have another process do so. */
  detached?(positional: string[]): Promise<{ run_dir: string; words: string[] }>;
}

/** Types a verb: infers `args` from its schema, and holds its value to `result`. */
export function defineVerb<S extends z.ZodType, J, R extends J>(verb: Verb<S, J, R>): Verb<S, J, R> {
  return verb;
}

/** Marks a flag as one for a person at a terminal only. */
export function terminalOnly<T extends z.ZodType>(flag: T): T {
  return flag.meta({ terminal_only: true });
}

/** The values of `--format`; the first is the default. */
export function formatsOf({ formats = STANDARD }: Verb): string[] {
  return ["text", ...Object.keys(formats)];
}

/** The value in one of them other than text. */
export function shownAs(format: string, value: unknown, { formats = STANDARD }: Verb): string {
  return formats[format]!(value);
}

const STANDARD: NonNullable<Verb["formats"]> = { json: (value) => JSON.stringify(value) };

/** The value as JSON on lines of its own, for values that people look at too. */
export function indented(value: unknown): string {
  return JSON.stringify(value, null, 2);
}
