/**
 * The command line: finds the verb, parses its flags, runs it, and turns errors into a message and an exit code.
 * Imports nothing heavy, so that `hone --help` is fast.
 * @module
 */
import { type Entry, firstWords, verbIn, VERBS, verbsUnder } from "../verbs/mod.ts";
import { generalHelp, groupHelp, verbHelp } from "./help.ts";
import { TERMINAL, type Terminal } from "./terminal.ts";
import { SIGNALS, startWatchdog } from "./watchdog.ts";

/** Runs a command line; resolves to the exit code. */
export async function main(words: string[], terminal: Terminal = TERMINAL): Promise<number> {
  const verbose = words.includes("--verbose");
  if (terminal === TERMINAL) explainStrays(verbose);
  try {
    return await chosen(words, terminal);
  } catch (error) {
    return await complain(error, formatIn(words), terminal, verbose);
  }
}

/** Errors that nobody awaits end the process with a message, like all others. */
function explainStrays(verbose: boolean) {
  const end = (event: PromiseRejectionEvent | ErrorEvent) => {
    event.preventDefault();
    const error = "reason" in event ? event.reason : event.error;
    void complain(error, "text", TERMINAL, verbose).then(Deno.exit, () => Deno.exit(1));
  };
  addEventListener("unhandledrejection", end);
  addEventListener("error", end);
}

async function chosen(words: string[], terminal: Terminal): Promise<number> {
  const [first, ...rest] = words;
  if (first === undefined || first === "--help" || first === "-h" || first === "help") {
    return await help(rest, terminal);
  }
  if (first === "--version" || first === "-V") return await version(terminal);
  if (first === "--mcp") return await (await import("../mcp/entry.ts")).serve(rest, terminal);
  const known = verbIn(words);
  if (known) return await perform(known.entry, known.rest, terminal);
  if (verbsUnder(first).length > 0) return await ofGroup(first, rest, terminal);
  if (/\.ya?ml$/i.test(first)) return await perform(VERBS.find(({ name }) => name === "run")!, words, terminal);
  return await unknown(first);
}

async function help(words: string[], terminal: Terminal): Promise<number> {
  const known = verbIn(words);
  if (known) return await perform(known.entry, ["--help"], terminal);
  const group = verbsUnder(words[0] ?? "");
  terminal.out(group.length > 0 ? groupHelp(words[0]!, group) : generalHelp());
  return 0;
}

/** The first word of verbs of two words, without the second. */
async function ofGroup(first: string, [second]: string[], terminal: Terminal): Promise<number> {
  const group = verbsUnder(first);
  if (second === "--help" || second === "-h") {
    terminal.out(groupHelp(first, group));
    return 0;
  }
  const { cli, HoneError, nearest } = await import("../../pipeline/diagnostics/mod.ts");
  const seconds = group.map(({ name }) => name.slice(first.length + 1));
  throw new HoneError(cli.unknown_subcommand(first, second, second && nearest(second, seconds), seconds));
}

async function version(terminal: Terminal): Promise<number> {
  terminal.out((await import("../../pipeline/common/version.ts")).VERSION);
  return 0;
}

async function unknown(word: string): Promise<never> {
  const { cli, HoneError, nearest } = await import("../../pipeline/diagnostics/mod.ts");
  const names = firstWords(VERBS.map(({ name }) => name));
  throw new HoneError(cli.unknown_verb(word, nearest(word, names)));
}

async function perform(entry: Entry, words: string[], terminal: Terminal): Promise<number> {
  const { parseLine } = await import("./args.ts");
  const interrupt = new AbortController();
  try {
    const { default: verb } = await entry.load();
    const line = parseLine(verb, words);
    if (line.help) {
      const { flagsOf } = await import("../verbs/flags.ts");
      terminal.out(verbHelp(verb, flagsOf(verb)));
      return 0;
    }
    const { carryOut } = await import("./carry_out.ts");
    // Other verbs run no code but hone's own, which returns to the event loop.
    const watched = verb.effect === "runs" || verb.restricted !== undefined;
    const stop = onInterrupt(interrupt, terminal, { watched, silent: verb.streams === true });
    try {
      return await carryOut(verb, line, terminal, interrupt.signal);
    } finally {
      stop();
    }
  } catch (error) {
    if (interrupt.signal.aborted) return 130;
    throw error;
  }
}

function formatIn(words: string[]): string {
  return /(^| )--format[ =]json( |$)/.test(words.join(" ")) ? "json" : "text";
}

/**
 * The first Ctrl-C (or SIGTERM) stops cleanly; a second one exits immediately, if `watched` whatever runs. `silent` for a
 * verb that follows a run: it alone is stopped, not the run.
 */
function onInterrupt(
  interrupt: AbortController,
  terminal: Terminal,
  { watched, silent }: { watched: boolean; silent: boolean },
): () => void {
  const handle = () => {
    if (interrupt.signal.aborted) Deno.exit(130);
    if (!silent) terminal.err("\nstopping cleanly; press Ctrl-C again to exit immediately");
    interrupt.abort(new Error("interrupted"));
  };
  for (const signal of SIGNALS) Deno.addSignalListener(signal, handle);
  const watchdog = watched ? startWatchdog() : undefined;
  return () => {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, handle);
    watchdog?.terminate();
  };
}

async function complain(error: unknown, format: string, terminal: Terminal, stack = false): Promise<number> {
  const { diagnosticsOf, render } = await import("../../pipeline/diagnostics/mod.ts");
  const diagnostics = diagnosticsOf(error, { stack });
  if (format === "json") terminal.out(render(diagnostics, "json"));
  else terminal.err(render(diagnostics, "text"));
  return diagnostics[0]?.code === "UNEXPECTED" ? 1 : 2;
}
