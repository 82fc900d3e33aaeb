/**
 * The interface of a verb (a command of hone): one file each, and a line in `mod.ts`. It takes parsed arguments and
 * returns a value, which its caller shows: the command line prints it, the MCP server returns it. Notes, progress and
 * questions before the result go through the caller.
 * @module
 */
import type { z } from "zod";
import type { Envelope } from "../../pipeline/events.ts";
import type { ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";

/** The side effects of verbs, as help describes them. */
export const EFFECTS = {
  reads: "Read-only.",
  acts: "Writes files, or stops a live run.",
  runs: "Runs programs: servers, workers, plugins.",
} as const;

/** The side effects of a verb. */
export type Effect = keyof typeof EFFECTS;

/** One positional argument. */
export interface Positional {
  name: string;
  description: string;
  optional?: boolean;
  /** Flags (fields of `args`) with which it is not needed. */
  unless?: readonly string[];
  /** Takes all remaining words; only the last argument may. */
  variadic?: boolean;
  /** May be a command with its own flags, written after `--`. */
  command?: boolean;
}

/** The arguments of a verb. */
export interface Asked<A> {
  /** The flags, parsed by the verb's own schema. */
  args: A;
  /** Positional arguments in order; a variadic one takes the rest. */
  positional: string[];
}

/** What `run` receives. */
export interface VerbCall<A> extends Asked<A> {
  signal: AbortSignal;
  caller: Caller;
}

/** The caller of a verb: a terminal, an MCP client, or a program. */
export interface Caller {
  /**
   * Whether code that the caller or a file names, such as a plugin by its path, is loaded: never, once it is approved
   * (`consent.ts`), or always.
   */
  readonly loads_code: false | "approved" | true;
  /** A note that is not part of the result. */
  note(text: string): void;
  /** Starts a new unit of work; `read` returns its current progress. */
  progress(read: () => ProgressSnapshot): void;
  /** A line of the work's log. */
  log(level: "debug" | "info" | "warn", line: string): void;
  /** An event of a followed run. */
  event(event: Envelope): void;
  /** Shows what needs approval and asks; null if nobody can be asked. */
  confirm(question: string, shown: string): Promise<boolean | null>;
  /** The path to read a file or a folder from, if the caller may read it; throws PATH_OUTSIDE otherwise. */
  within(path: string): Promise<string>;
  /** Opens a file in a viewer. */
  open(file: string): Promise<void>;
}

/**
 * A verb. Flags are the fields of `args`: `max_rows` is `--max-rows`. The value `R` may hold more than the JSON result
 * `J` if its text or exit code needs more; such a verb produces its JSON in `formats`.
 */
// deno-lint-ignore no-explicit-any -- callers pass the value from `run` to `text` without inspecting it
export interface Verb<S extends z.ZodType = z.ZodType, J = unknown, R extends J = any> {
  name: string;
  /** One line. */
  summary: string;
  /** What it does and writes, in a few sentences. */
  description: string;
  effect: Effect;
  positional: Positional[];
  /** A strict object schema; every field described. */
  args: S;
  /** The value as JSON: `--format json`, and MCP's structured content. */
  result: z.ZodType<J>;
  /** Complete command lines. */
  examples: string[];
  /** Resolves to the value; throws HoneError for problems that the user can fix. */
  run(call: VerbCall<z.output<S>>): Promise<R>;
  /** Formats of the value besides text, by their names for `--format`. Default: JSON on one line. */
  formats?: Record<string, (value: R) => string>;
  /** The value as text; may be empty. */
  text(value: R, asked: Asked<z.output<S>>): string;
  /** Additional notes for text output, one line each. */
  remarks?(value: R, asked: Asked<z.output<S>>): string[];
  /** Exit code. Default: 0. */
  exit?(value: R): number;
  /** Its result is what it passes to `Caller.event`: the command line shows those events instead of the value. */
  streams?: true;
  /** A non-zero exit code is part of the result, not a failure. */
  exit_is_result?: true;
  /** For a verb that acts: it only writes files derived from existing ones, so it needs no permission. */
  harmless?: true;
  /** For a verb that may load the caller's code: what it does not do if it must not load it. */
  restricted?: string;
  /** Available only at a terminal, like the flags marked by `terminalOnly`. */
  terminal_only?: true;
  /** For a long-running verb: the run's folder, and the arguments for running it in another process. */
  detached?(positional: string[]): Promise<{ run_dir: string; words: string[] }>;
}

/** Types a verb: infers `args` from its schema and checks its value against `result`. */
export function defineVerb<S extends z.ZodType, J, R extends J>(verb: Verb<S, J, R>): Verb<S, J, R> {
  return verb;
}

/** Marks a flag as available only at a terminal. */
export function terminalOnly<T extends z.ZodType>(flag: T): T {
  return flag.meta({ terminal_only: true });
}

/** The values of `--format`; the first is the default. */
export function formatsOf({ formats = STANDARD }: Verb): string[] {
  return ["text", ...Object.keys(formats)];
}

/** The value in a format other than text. */
export function shownAs(format: string, value: unknown, { formats = STANDARD }: Verb): string {
  return formats[format]!(value);
}

const STANDARD: NonNullable<Verb["formats"]> = { json: (value) => JSON.stringify(value) };

/** The value as indented JSON, for values that people read too. */
export function indented(value: unknown): string {
  return JSON.stringify(value, null, 2);
}
