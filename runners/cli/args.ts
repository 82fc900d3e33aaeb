/**
 * Parses a command line with a verb's flags and schema, or rejects it.
 * @module
 */
import { parseArgs } from "node:util";
import { cli, HoneError, nearest } from "../../pipeline/diagnostics/mod.ts";
import { type Flag, flagsOf } from "../verbs/flags.ts";
import { formatsOf, type Verb } from "../verbs/verb.ts";

/** A parsed command line. */
export interface ParsedLine {
  args: unknown;
  positional: string[];
  format: string;
  help: boolean;
}

/** Parses the arguments after the verb. Throws a HoneError for invalid ones. */
export function parseLine(verb: Verb, words: string[]): ParsedLine {
  const flags = flagsOf(verb);
  const formats = formatsOf(verb);
  const { values, positionals } = split(verb, flags, words);
  const format = (values.format as string | undefined) ?? formats[0]!;
  if (!formats.includes(format)) throw new HoneError(cli.bad_value("--format", format, formats.join(", ")));
  if (values.help) return { args: {}, positional: [], format, help: true };
  const given = flags.filter(({ name }) => values[name] !== undefined).map((
    { name, key },
  ) => [key, typed(flags, name, values[name])]);
  const parsed = verb.args.safeParse(Object.fromEntries(given));
  if (!parsed.success) {
    const values = Object.fromEntries(given);
    throw new HoneError(parsed.error.issues.map((issue) => {
      const key = String(issue.path[0] ?? "");
      const flag = flags.find((one) => one.key === key);
      if (flag && values[key] === undefined) return cli.missing_flag(verb.name, `--${flag.name}`, flag.description);
      return cli.bad_value(`--${key.replaceAll("_", "-")}`, String(values[key]), issue.message);
    }));
  }
  const set = parsed.data as Record<string, unknown>;
  const wanted = verb.positional.filter(({ optional, unless }) => !optional && !unless?.some((flag) => set[flag]));
  if (positionals.length < wanted.length) {
    throw new HoneError(cli.missing_argument(verb.name, wanted[positionals.length]!.name));
  }
  const most = verb.positional.some(({ variadic }) => variadic) ? Infinity : verb.positional.length;
  if (positionals.length > most) throw new HoneError(cli.extra_argument(verb.name, positionals[most]!));
  return { args: parsed.data, positional: positionals, format, help: false };
}

function split(verb: Verb, flags: Flag[], words: string[]) {
  const options = Object.fromEntries(flags.map(({ name, type, multiple }) => [name, { type, multiple }]));
  try {
    return parseArgs({
      args: words,
      options: { ...options, help: { type: "boolean", short: "h" }, format: { type: "string" } },
      allowPositionals: true,
      allowNegative: true,
    }) as { values: Record<string, unknown>; positionals: string[] };
  } catch (error) {
    const [, flag] = /'(--?[^' ]+)/.exec((error as Error).message) ?? [];
    const names = [...flags.map(({ name }) => `--${name}`), "--help", "--format"];
    const command = commandWithoutDashes(verb, flags, words);
    if (command) throw new HoneError(cli.dashes_missing(verb.name, ...command));
    if ((error as { code?: string }).code === "ERR_PARSE_ARGS_UNKNOWN_OPTION" && flag) {
      throw new HoneError(cli.unknown_flag(verb.name, flag, nearest(flag, names), names));
    }
    throw new HoneError(cli.bad_line(verb.name, (error as Error).message));
  }
}

/** A server's command written without the `--` that separates its flags from hone's. */
function commandWithoutDashes(verb: Verb, flags: Flag[], words: string[]): [string[], string[]] | undefined {
  if (words.includes("--") || !verb.positional.some(({ command }) => command)) return undefined;
  const takesValue = (word: string) => flags.some(({ name, type }) => word === `--${name}` && type === "string");
  const start = words.findIndex((word, at) => !word.startsWith("-") && !takesValue(words[at - 1] ?? ""));
  return start >= 0 && words.slice(start).some((word) => word.startsWith("-"))
    ? [words.slice(0, start), words.slice(start)]
    : undefined;
}

function typed(flags: Flag[], name: string, value: unknown): unknown {
  const flag = flags.find((one) => one.name === name)!;
  const number = flag.value === "number" || flag.value === "integer";
  return number && typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value))
    ? Number(value)
    : value;
}
