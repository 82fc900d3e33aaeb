/**
 * The form of a verb: one file each under `runners/verbs/`, read by the command line (flags, help, completion) and by the
 * MCP runner (tools). A verb writes its result with `out` and everything else with `err`, and returns its exit code.
 * @module
 */
import type { z } from "zod";

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

/** What `run` receives. */
export interface VerbContext<A> {
  /** The flags, parsed by the verb's own schema. */
  args: A;
  /** Positional arguments in order; a variadic one is the rest. */
  positional: string[];
  /** Writes one piece of the result, and a newline, to stdout. */
  out(text: string): void;
  /** Writes a line for the person who waits, to stderr. */
  err(text: string): void;
  signal: AbortSignal;
  /** One of the verb's formats; the first is the default. */
  format: string;
}

/** A verb. Flags are the fields of `args`: `max_rows` is `--max-rows`. */
export interface Verb<S extends z.ZodType = z.ZodType> {
  name: string;
  /** One line. */
  summary: string;
  /** What it does and leaves, in a few sentences. */
  description: string;
  positional: Positional[];
  /** A strict object schema; every field described. */
  args: S;
  /** Values of `--format`; `text` and `json` when left out. */
  formats?: string[];
  /** Whole command lines. */
  examples: string[];
  /** Resolves to the exit code; throws HoneError for what the person can act on. */
  run(context: VerbContext<z.output<S>>): Promise<number>;
}

/** Types a verb: infers `args` from its schema. */
export function defineVerb<S extends z.ZodType>(verb: Verb<S>): Verb<S> {
  return verb;
}
