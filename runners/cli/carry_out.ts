/**
 * Calls a verb for a person, shows its value and returns the exit code.
 * @module
 */
import { shownAs, type Verb } from "../verbs/verb.ts";
import type { ParsedLine } from "./args.ts";
import { Person } from "./person.ts";
import type { Terminal } from "./terminal.ts";

/** Runs the verb of a line without --help; throws what the verb throws. */
export async function carryOut(
  verb: Verb,
  { args, positional, format }: Omit<ParsedLine, "help">,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<number> {
  using person = new Person(terminal, verb, format, signal);
  const value = await verb.run({ args, positional, signal, caller: person });
  person[Symbol.dispose]();
  if (!verb.streams) show(verb, value, { args, positional, format }, terminal);
  return verb.exit?.(value) ?? 0;
}

function show(verb: Verb, value: unknown, { format, ...asked }: Omit<ParsedLine, "help">, terminal: Terminal) {
  if (format !== "text") return terminal.out(shownAs(format, value, verb));
  const text = verb.text(value, asked);
  if (text !== "") terminal.out(text);
  for (const line of verb.remarks?.(value, asked) ?? []) terminal.err(line);
}
