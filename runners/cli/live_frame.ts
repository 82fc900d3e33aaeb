/**
 * A block of lines at the bottom of a terminal that is redrawn in place. Lines must be free of control characters
 * (`oneLine`); they are truncated to the terminal's width, wide characters counted as two.
 * @module
 */
import { eastAsianWidth } from "get-east-asian-width";

/** The size of a terminal, in characters. */
export interface Size {
  columns: number;
  rows: number;
}

/** The size of the terminal, or that of a small one if it is unknown. */
export function terminalSize(): Size {
  try {
    const { columns, rows } = Deno.consoleSize();
    return { columns: columns || 80, rows: rows || 24 };
  } catch {
    return { columns: 80, rows: 24 };
  }
}

/** Upper bound of a text's columns: terminals differ on joined characters, so each is counted separately. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** A text truncated to a width, with `…` at the end if truncated. */
export function fit(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let [used, kept] = [0, ""];
  for (const character of text) {
    used += characterWidth(character);
    if (used > width - 1) break;
    kept += character;
  }
  return width > 0 ? `${kept}…` : "";
}

/** A text truncated or padded to exactly this width. */
export function cell(text: string, width: number): string {
  const cut = fit(text, width);
  return cut + " ".repeat(Math.max(0, width - widthOf(cut)));
}

const EMOJI_STYLE = "\ufe0f";

function characterWidth(character: string): number {
  if (character <= "\x7e") return 1;
  if (character !== EMOJI_STYLE && /^[\p{Mn}\p{Me}]$/u.test(character)) return 0;
  return character === EMOJI_STYLE ? 1 : eastAsianWidth(character.codePointAt(0)!);
}

/** The block. Every write leaves the cursor at the end of its last line. */
export class LiveFrame {
  /** Widths of the lines on the screen. */
  #drawn: number[] = [];
  #write: (text: string) => void;
  #size: () => Size;

  constructor(write: (text: string) => void, size: () => Size) {
    this.#write = write;
    this.#size = size;
  }

  /** Replaces the block, with `above` as permanent lines before it. */
  draw(lines: string[], above: string[] = []) {
    const { columns, rows } = this.#size();
    // A full line would wrap on some terminals, and a block as high as the screen would scroll.
    const shown = lines.slice(0, Math.max(1, rows - 1)).map((line) => fit(line, columns - 1));
    const kept = above.map((line) => line + "\n").join("");
    this.#write(this.#clearing(columns) + kept + shown.join("\n"));
    this.#drawn = shown.map(widthOf);
  }

  /** Removes the block. */
  clear() {
    if (this.#drawn.length > 0) this.#write(this.#clearing(this.#size().columns));
    this.#drawn = [];
  }

  /** Moves to the start of the block, counting lines that a narrower window has wrapped, and clears from there. */
  #clearing(columns: number): string {
    const height = this.#drawn.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
    return `\r${height > 1 ? `\x1b[${height - 1}A` : ""}\x1b[J`;
  }
}
