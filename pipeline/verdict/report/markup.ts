/**
 * HTML as a tagged template that escapes everything it is given: text from models, tools and scenarios can only ever
 * be text. Controls and direction marks, which could hide or reorder it, become visible.
 * @module
 */

/** Markup that is already safe: made by `markup`, or by `trusted` from our own constants. */
export class Markup {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

/** What may stand in a template. Lists are joined; null, undefined and false are left out. */
export type Content = Markup | string | number | boolean | null | undefined | readonly Content[];

/** Builds markup; every interpolated string is escaped. Attributes must be quoted in the template. */
export function markup(strings: TemplateStringsArray, ...values: Content[]): Markup {
  return new Markup(strings.reduce((out, text, i) => out + render(values[i - 1]) + text));
}

/** Marks our own constant as markup. Never for text that came from anywhere else. */
export function trusted(constant: string): Markup {
  return new Markup(constant);
}

/** Escapes a text for element content and quoted attributes. */
export function escape(text: string): string {
  return visible(text).replace(/[&<>"'`]/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** Shows controls (other than tab and newline), direction marks, zero-width characters and lone surrogates as codes. */
export function visible(text: string): string {
  return text.toWellFormed().replaceAll("\r\n", "\n").replace(
    // deno-lint-ignore no-control-regex -- these are what it is about
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );
}

/** Cuts a text to a length, saying how much was left out. */
export function clip(text: string, length: number): string {
  if (text.length <= length) return text;
  return `${text.slice(0, length)}… (${text.length - length} more characters)`;
}

function render(value: Content): string {
  if (value === null || value === undefined || value === false || value === true) return "";
  if (value instanceof Markup) return value.text;
  if (typeof value === "object") return value.map(render).join("");
  return escape(String(value));
}
