/**
 * Input and output of the command line. Everything is written through one of these, so that tests can read it; that of
 * this process is `TERMINAL`.
 * @module
 */
import process from "node:process";

/** The two output streams of a command line, and questions to the user. */
export interface Terminal {
  /** Writes a part of the result and a newline to stdout. */
  out(text: string): void;
  /** Writes a message for the user and a newline to stderr. */
  err(text: string): void;
  /** Writes raw text, to redraw in place. */
  draw(stream: Stream, text: string): void;
  /** Whether a stream can be redrawn in place. */
  live(stream: Stream): boolean;
  /** Asks and resolves to the answer, or to null if there is no interactive terminal. */
  ask(question: string, signal: AbortSignal): Promise<string | null>;
}

/** Name of a stream. */
export type Stream = "stdout" | "stderr";

/** The terminal of this process. */
export const TERMINAL: Terminal = {
  out: (text) => console.log(text),
  err: (text) => unfailing(() => console.error(text)),
  draw(stream, text) {
    if (!heard.has(stream)) process[stream].on("error", () => {});
    heard.add(stream);
    unfailing(() => void process[stream].write(text));
  },
  live: (stream) => isTerminal(process[stream]),
  async ask(question, signal) {
    if (!process.stdin.isTTY) return null;
    const { createInterface } = await import("node:readline/promises");
    // Not in raw mode: Ctrl-C must remain a signal, which ends the question.
    const asking = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
    const answer = await asking.question(question, { signal });
    asking.close();
    return answer;
  },
};

/** Streams whose errors are listened to. */
const heard = new Set<Stream>();

/** What is said after the reader has gone (`| head`), or to a full disk, is lost, and does not end the command. */
function unfailing(write: () => void) {
  try {
    write();
  } catch {
    // There is nowhere to say so.
  }
}

/** Whether a stream is a terminal whose cursor can be moved. */
export function isTerminal(stream: { isTTY?: boolean }): boolean {
  return stream.isTTY === true && process.env.TERM !== "dumb";
}
