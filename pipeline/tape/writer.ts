/**
 * Writes a tape: append-only, and a line is on disk before `write` resolves. Lines that arrive during a write share the
 * next one. A line truncated by a crash was not acknowledged, and is removed when the tape is continued.
 * @module
 */
import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open, truncate } from "node:fs/promises";
import { dirname } from "node:path";
import { HoneError, tape as messages } from "../diagnostics/mod.ts";
import type { TapeLine } from "./lines.ts";

/** An open tape. */
export class TapeWriter implements AsyncDisposable {
  #pending: string[] = [];
  #flushing: Promise<void> | undefined;
  #failed: HoneError | undefined;

  private constructor(readonly path: string, private readonly file: FileHandle) {}

  /** Creates a tape, or continues the one at `path`. Throws a HoneError if it cannot be written. */
  static async open(path: string, { resumed }: { resumed: boolean }): Promise<{ writer: TapeWriter; fresh: boolean }> {
    try {
      await mkdir(dirname(path), { recursive: true });
      if (resumed) await cutTorn(path);
      const file = await open(path, resumed ? "a" : "ax");
      const { size } = await file.stat();
      return { writer: new TapeWriter(path, file), fresh: size === 0 };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new HoneError(code === "EEXIST" ? messages.exists(path) : messages.write_failed(path, message));
    }
  }

  /** Resolves when the line is on disk. Throws a HoneError where it cannot be. */
  async write(line: TapeLine): Promise<void> {
    this.#pending.push(JSON.stringify(line) + "\n");
    // A flush in progress may have started before this line was added: the next one then includes it.
    if (this.#flushing) await this.#flushing.catch(() => {});
    await (this.#flushing ??= this.#flush().finally(() => this.#flushing = undefined));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#flushing?.catch(() => {});
    await this.file.close();
  }

  async #flush(): Promise<void> {
    const lines = this.#pending.splice(0);
    if (lines.length === 0) return;
    // What was written in part must stay the last: `open` can then cut it off.
    if (this.#failed) throw this.#failed;
    try {
      await this.file.appendFile(lines.join(""));
      await this.file.datasync();
    } catch (error) {
      throw this.#failed = new HoneError(messages.write_failed(this.path, (error as Error).message), { cause: error });
    }
  }
}

/** Cuts off what follows the last line end. */
async function cutTorn(path: string): Promise<void> {
  let at = 0;
  let whole = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Uint8Array>) {
      const last = chunk.lastIndexOf(10);
      if (last >= 0) whole = at + last + 1;
      at += chunk.length;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (whole < at) await truncate(path, whole);
}
