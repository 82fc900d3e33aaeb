/**
 * Where the command line writes, and whom it asks. All that is written goes through one of these, so that tests can read
 * it; this process's own is `TERMINAL`.
 * @module
 */
import process from "node:process";

/** The two streams of a command line and the person before them. */
export interface Terminal {
  /** A piece of the result, and a newline, to stdout. */
  out(text: string): void;
  /** Something for the person who waits, and a newline, to stderr. */
  err(text: string): void;
  /** Writes as it is, to redraw in place. */
  draw(stream: Stream, text: string): void;
  /** Whether a stream can be redrawn in place. */
  live(stream: Stream): boolean;
  /** Asks and resolves with the answer, or with null where nobody can give one. */
  ask(question: string, signal: AbortSignal): Promise<string | null>;
}

/** Name of a stream. */
export type Stream = "stdout" | "stderr";

/** The terminal of this process. */
export const TERMINAL: Terminal = {
  out: (text) => console.log(text),
  err: (text) => console.error(text),
  draw: (stream, text) => void process[stream].write(text),
  live: (stream) => isTerminal(process[stream]),
  async ask(question, signal) {
    if (!process.stdin.isTTY) return null;
    const { createInterface } = await import("node:readline/promises");
    // Not a raw terminal: Ctrl-C must stay a signal, which ends the question.
    const asking = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
    const answer = await asking.question(question, { signal });
    asking.close();
    return answer;
  },
};

/** Whether a stream is a terminal whose cursor can be moved. */
export function isTerminal(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && process.env.TERM !== "dumb";
}
