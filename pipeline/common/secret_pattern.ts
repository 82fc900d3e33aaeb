/**
 * The forms in which a secret comes back: as it is, as text in JSON, percent-encoded, and in Base64, alone or within
 * more (`user:password`, a whole environment). One regular expression finds all of them in one pass.
 * @module
 */

/** Parts of a secret are looked for separately: its lines, and pieces of a long one. */
const MAX_PIECE = 256;

/** Shorter parts are not looked for: they would be found everywhere. */
export const MIN_LENGTH = 8;

/** Characters that no encoding touches. */
const PLAIN = /[\w.~-]/;

/** A backslash, once for each JSON text in which the text stands, and what follows it. */
const ESCAPED: Record<string, string> = {
  "\n": "\\\\{1,7}n",
  "\r": "\\\\{1,7}r",
  "\t": "\\\\{1,7}t",
  '"': '\\\\{0,7}"',
  "/": "\\\\{0,3}\\/",
  "\\": "\\\\{1,8}",
};

/** Finds any form of any of the secrets; null for none. The longest come first: one may begin as another does. */
export function patternOf(secrets: Iterable<string>): RegExp | null {
  const pieces = new Set([...secrets].flatMap(piecesOf));
  const ordered = [...pieces].sort((a, b) => b.length - a.length);
  const forms = new Set([...ordered.map(textPattern), ...ordered.flatMap(base64Patterns)]);
  return forms.size > 0 ? new RegExp([...forms].join("|"), "g") : null;
}

function piecesOf(secret: string): string[] {
  if (secret.length <= MAX_PIECE && !secret.includes("\n")) return [secret];
  const lines = secret.split(/[\r\n]+/).flatMap((line) => line.match(/.{1,256}/gsu) ?? []);
  return lines.filter((line) => line.length >= MIN_LENGTH);
}

/** The text with every character as it is, escaped in JSON, or percent-encoded. */
function textPattern(text: string): string {
  return Array.from(text, (character) => PLAIN.test(character) ? literal(character) : anyForm(character)).join("");
}

function anyForm(character: string): string {
  const bytes = new TextEncoder().encode(character);
  const percent = Array.from(bytes, (byte) => `%(?:25){0,2}${anyCase(byte.toString(16).padStart(2, "0"))}`).join("");
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i).toString(16));
  const unicode = units.map((unit) => `\\\\{1,7}u${anyCase(unit.padStart(4, "0"))}`).join("");
  const space = character === " " ? ["\\+"] : [];
  return `(?:${[literal(character), ESCAPED[character] ?? [], space, unicode, percent].flat().join("|")})`;
}

function literal(character: string): string {
  return /[\\^$.*+?()[\]{}|/-]/.test(character) ? `\\${character}` : character;
}

function anyCase(hex: string): string {
  return hex.replace(/[a-f]/g, (digit) => `[${digit}${digit.toUpperCase()}]`);
}

/** The Base64 of the text at each of its three positions in a longer one, without the digits that it shares. */
function base64Patterns(text: string): string[] {
  const inJson = JSON.stringify(text).slice(1, -1);
  return [...new Set([text, inJson])].flatMap((form) => {
    const bytes = new TextEncoder().encode(form);
    return [0, 1, 2].map((before) => {
      const whole = base64(new Uint8Array([...new Uint8Array(before), ...bytes]));
      const own = whole.slice([0, 2, 3][before], Math.floor((before + bytes.length) * 8 / 6));
      return own.replace(/[+/]/g, (digit) => digit === "+" ? "(?:[+-]|%2[bB])" : "(?:\\\\?\\/|_|%2[fF])") +
        "[\\w+/-]?(?:=|%3[dD]){0,2}";
    });
  });
}

function base64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
