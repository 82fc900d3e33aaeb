/**
 * A terminal for tests: understands what `LiveFrame` writes and refuses every other control character, so that nothing
 * of a server's own can have moved its cursor.
 * @module
 */
import { widthOf } from "./live_frame.ts";

/** Cursor up, clear to the end of the screen, or any one character. */
const SEQUENCE = new RegExp("\x1b\\[(\\d+)A|\x1b\\[J|[\\s\\S]", "gu");

/** What a person would see. Wraps long lines as terminals do; never scrolls. */
export class Screen {
  #lines: string[] = [""];
  #row = 0;

  constructor(public columns: number, public rows: number) {}

  /** Lines from the top, without those that are empty at the end. */
  get lines(): string[] {
    const last = this.#lines.findLastIndex((line) => line !== "");
    return this.#lines.slice(0, last + 1);
  }

  /** Takes what a program writes. */
  write = (text: string) => {
    for (const [part, up] of text.matchAll(SEQUENCE)) {
      if (up) this.#row -= Number(up);
      else if (part === "\x1b[J") this.#lines = [...this.#lines.slice(0, this.#row), ""];
      else if (part === "\n") this.#lines[++this.#row] ??= "";
      else if (part !== "\r") this.#put(part);
      if (this.#row < 0) throw new Error("the cursor left the screen");
    }
  };

  /** Makes the window narrower: lines wrap, and the cursor stays behind the last character. */
  resize(columns: number) {
    this.columns = columns;
    this.#lines = this.#lines.flatMap((line) => line.match(new RegExp(`.{1,${columns}}`, "gu")) ?? [""]);
    this.#row = this.#lines.length - 1;
  }

  #put(character: string) {
    if (/\p{Cc}/u.test(character)) throw new Error(`a terminal got ${JSON.stringify(character)}`);
    const line = this.#lines[this.#row]! + character;
    if (widthOf(line) > this.columns) this.#lines[++this.#row] = character;
    else this.#lines[this.#row] = line;
  }
}
