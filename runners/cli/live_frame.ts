/**
 * A block of lines at the bottom of a terminal that is redrawn in place. Knows widths, not what it shows. Lines must be
 * free of control characters (`oneLine`); they are cut to the terminal's width, wide characters counted as two.
 * @module
 */
import { eastAsianWidth } from "get-east-asian-width";

/** How large a terminal is, in characters. */
export interface Size {
  columns: number;
  rows: number;
}

/** The size of the terminal, or that of a small one where it cannot be told. */
export function terminalSize(): Size {
  try {
    const { columns, rows } = Deno.consoleSize();
    return { columns: columns || 80, rows: rows || 24 };
  } catch {
    return { columns: 80, rows: 24 };
  }
}

/** The columns that a text takes at most: terminals differ on joined characters, so each counts for itself. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

/** A text cut to a width, with `…` where something is missing. */
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

/** A text in exactly this width. */
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

  /** Replaces the block, with `above` as lines of their own that stay. */
  draw(lines: string[], above: string[] = []) {
    const { columns, rows } = this.#size();
    // A full line would wrap on some terminals, and a block as high as the screen would scroll.
    const shown = lines.slice(0, Math.max(1, rows - 1)).map((line) => fit(line, columns - 1));
    const kept = above.map((line) => line + "\n").join("");
    this.#write(this.#clearing(columns) + kept + shown.join("\n"));
    this.#drawn = shown.map(widthOf);
  }

  /** Takes the block away. */
  clear() {
    if (this.#drawn.length > 0) this.#write(this.#clearing(this.#size().columns));
    this.#drawn = [];
  }

  /** Back to where the block begins, counting lines that a narrower window has wrapped, and clear from there on. */
  #clearing(columns: number): string {
    const height = this.#drawn.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
    return `\r${height > 1 ? `\x1b[${height - 1}A` : ""}\x1b[J`;
  }
}
