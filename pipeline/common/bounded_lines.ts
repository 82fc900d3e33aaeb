/** Lines of a stream of bytes, with a limit on the length of one. @module */

import { Buffer } from "node:buffer";

const NEWLINE = 10;

/** A line was longer than it may be. */
export class LineTooLong extends Error {
  override name = "LineTooLong";

  constructor(readonly max_bytes: number) {
    super(`it wrote a line of more than ${max_bytes} bytes`);
  }
}

/**
 * Splits chunks of bytes into lines. A longer line than `max_bytes` throws LineTooLong, or is cut to its beginning
 * with `cut`.
 */
export class LineSplitter {
  readonly #decoder = new TextDecoder();
  #parts: Uint8Array[] = [];
  #held = 0;

  constructor(readonly max_bytes: number, readonly options: { cut?: boolean } = {}) {}

  /** The lines that end in this chunk, without their ends. */
  *add(chunk: Uint8Array): Generator<string, undefined> {
    for (let from = 0; from < chunk.length;) {
      const at = chunk.indexOf(NEWLINE, from);
      this.#hold(chunk.subarray(from, at < 0 ? chunk.length : at));
      if (at < 0) return;
      yield this.#take();
      from = at + 1;
    }
  }

  /** What follows the last line end, at the end of the stream; undefined if there is nothing. */
  rest(): string | undefined {
    return this.#held > 0 ? this.#take() : undefined;
  }

  #hold(part: Uint8Array): void {
    if (this.#held + part.length > this.max_bytes && !this.options.cut) throw new LineTooLong(this.max_bytes);
    const kept = part.slice(0, this.max_bytes - this.#held);
    if (kept.length === 0) return;
    this.#parts.push(kept);
    this.#held += kept.length;
  }

  #take(): string {
    const whole = Buffer.concat(this.#parts, this.#held);
    this.#parts = [];
    this.#held = 0;
    return this.#decoder.decode(whole).replace(/\r$/, "");
  }
}

/** The lines of a stream; the last one may have no end. See LineSplitter. */
export async function* boundedLines(
  stream: AsyncIterable<Uint8Array>,
  max_bytes: number,
): AsyncGenerator<string, undefined> {
  const lines = new LineSplitter(max_bytes);
  for await (const chunk of stream) yield* lines.add(chunk);
  const rest = lines.rest();
  if (rest !== undefined) yield rest;
  return undefined;
}
