/**
 * The command line: finds the verb, reads its flags, runs it, and turns what it throws into a message and an exit code.
 * Imports nothing heavy itself, so that `hone --help` answers at once.
 * @module
 */
import { generalHelp } from "./help.ts";
import { VERBS } from "../verbs/mod.ts";

/** Runs a command line; resolves to the exit code. */
export async function main(words: string[]): Promise<number> {
  const [first, ...rest] = words;
  if (first === undefined || first === "--help" || first === "-h" || first === "help") return await help(rest);
  if (first === "--version" || first === "-V") return await version();
  if (first === "--mcp") return await (await import("../mcp/server.ts")).serve(rest);
  const known = VERBS.find(({ name }) => name === first);
  if (known) return await perform(known, rest);
  if (/\.ya?ml$/i.test(first)) return await perform(VERBS.find(({ name }) => name === "run")!, words);
  return await unknown(first);
}

async function help([verb]: string[]): Promise<number> {
  const known = VERBS.find(({ name }) => name === verb);
  if (known) return await perform(known, ["--help"]);
  console.log(generalHelp());
  return 0;
}

async function version(): Promise<number> {
  console.log((await import("../../pipeline/common/version.ts")).VERSION);
  return 0;
}

async function unknown(word: string): Promise<number> {
  const { cli, HoneError, nearest } = await import("../../pipeline/diagnostics/mod.ts");
  const names = VERBS.map(({ name }) => name);
  return await complain(new HoneError(cli.unknown_verb(word, nearest(word, names))), "text");
}

async function perform(entry: (typeof VERBS)[number], words: string[]): Promise<number> {
  const { flagsOf, parseLine } = await import("./args.ts");
  const format = /(^| )--format[ =]json( |$)/.test(words.join(" ")) ? "json" : "text";
  const interrupt = new AbortController();
  try {
    const { default: verb } = await entry.load();
    const line = parseLine(verb, words);
    if (line.help) {
      const { verbHelp } = await import("./help.ts");
      console.log(verbHelp(verb, flagsOf(verb)));
      return 0;
    }
    const stop = onInterrupt(interrupt);
    try {
      const { args, positional, format } = line;
      const context = { out: (text: string) => console.log(text), err: (text: string) => console.error(text) };
      return await verb.run({ args, positional, format, signal: interrupt.signal, ...context });
    } finally {
      stop();
    }
  } catch (error) {
    if (interrupt.signal.aborted) return 130;
    return await complain(error, format);
  }
}

/** The first Ctrl-C (or SIGTERM) asks for a clean end; a second one ends the process. */
function onInterrupt(interrupt: AbortController): () => void {
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM", "SIGHUP"];
  const handle = () => {
    if (interrupt.signal.aborted) Deno.exit(130);
    console.error("\nstopping cleanly; once more to end at once");
    interrupt.abort(new Error("interrupted"));
  };
  for (const signal of signals) Deno.addSignalListener(signal, handle);
  return () => {
    for (const signal of signals) Deno.removeSignalListener(signal, handle);
  };
}

async function complain(error: unknown, format: string): Promise<number> {
  const { HoneError, render } = await import("../../pipeline/diagnostics/mod.ts");
  if (error instanceof HoneError) {
    if (format === "json") console.log(render(error.diagnostics, "json"));
    else console.error(render(error.diagnostics, "text"));
    return 2;
  }
  console.error(error instanceof Error ? error.stack : String(error));
  return 1;
}
