/** `run.log`: one timestamped line per message; secrets of the environment are redacted. @module */
import { createWriteStream, type WriteStream } from "node:fs";
import type { Diagnostic } from "../../diagnostics/mod.ts";
import type { Log } from "../../plugin.ts";
import { redact } from "../../common/redact.ts";

type Level = "debug" | "info" | "warn";

/** Appends to a file and notifies a listener. */
export class RunLog implements Log, AsyncDisposable {
  #file: WriteStream;
  #listener?: (level: Level, message: string) => void;

  constructor(path: string, listener?: (level: Level, message: string) => void) {
    this.#file = createWriteStream(path, { flags: "a" });
    // A full disk must not end the process here: the store reports it with a code.
    this.#file.on("error", () => {});
    this.#listener = listener;
  }

  debug(message: string) {
    this.#write("debug", message);
  }

  info(message: string) {
    this.#write("info", message);
  }

  warn(message: string) {
    this.#write("warn", message);
  }

  async [Symbol.asyncDispose]() {
    await new Promise<void>((resolve) => this.#file.end(() => resolve()));
  }

  #write(level: Level, message: string) {
    const line = redact(message);
    this.#file.write(`${new Date().toISOString()} ${level.padEnd(5)} ${line}\n`);
    this.#listener?.(level, line);
  }
}

/** Warns with a message of several lines, one log line each: a shown line must not contain newlines. */
export function warnLines(log: Log, { message }: Diagnostic) {
  for (const line of message.split("\n")) log.warn(line);
}
