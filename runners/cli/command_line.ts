/**
 * The command line: finds the verb, parses its flags, runs it, and turns errors into a message and an exit code.
 * Imports nothing heavy, so that `hone --help` is fast.
 * @module
 */
import { VERBS } from "../verbs/mod.ts";
import { generalHelp, verbHelp } from "./help.ts";
import { TERMINAL, type Terminal } from "./terminal.ts";
import { SIGNALS, startWatchdog } from "./watchdog.ts";

/** Runs a command line; resolves to the exit code. */
export async function main(words: string[], terminal: Terminal = TERMINAL): Promise<number> {
  const [first, ...rest] = words;
  if (first === undefined || first === "--help" || first === "-h" || first === "help") {
    return await help(rest, terminal);
  }
  if (first === "--version" || first === "-V") return await version(terminal);
  if (first === "--mcp") return await (await import("../mcp/entry.ts")).serve(rest, terminal);
  const known = VERBS.find(({ name }) => name === first);
  if (known) return await perform(known, rest, terminal);
  if (/\.ya?ml$/i.test(first)) return await perform(VERBS.find(({ name }) => name === "run")!, words, terminal);
  return await unknown(first, terminal);
}

async function help([verb]: string[], terminal: Terminal): Promise<number> {
  const known = VERBS.find(({ name }) => name === verb);
  if (known) return await perform(known, ["--help"], terminal);
  terminal.out(generalHelp());
  return 0;
}

async function version(terminal: Terminal): Promise<number> {
  terminal.out((await import("../../pipeline/common/version.ts")).VERSION);
  return 0;
}

async function unknown(word: string, terminal: Terminal): Promise<number> {
  const { cli, HoneError, nearest } = await import("../../pipeline/diagnostics/mod.ts");
  const names = VERBS.map(({ name }) => name);
  return await complain(new HoneError(cli.unknown_verb(word, nearest(word, names))), "text", terminal);
}

async function perform(entry: (typeof VERBS)[number], words: string[], terminal: Terminal): Promise<number> {
  const { parseLine } = await import("./args.ts");
  const format = /(^| )--format[ =]json( |$)/.test(words.join(" ")) ? "json" : "text";
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
    return await complain(error, format, terminal);
  }
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

async function complain(error: unknown, format: string, terminal: Terminal): Promise<number> {
  const { HoneError, render } = await import("../../pipeline/diagnostics/mod.ts");
  if (error instanceof HoneError) {
    if (format === "json") terminal.out(render(error.diagnostics, "json"));
    else terminal.err(render(error.diagnostics, "text"));
    return 2;
  }
  terminal.err(error instanceof Error ? error.stack ?? error.message : String(error));
  return 1;
}
