/** Text of others, made safe to show on a terminal. @module */

/**
 * Escapes what a terminal would interpret or reorder: control characters other than newlines and tabs, line
 * separators, changes of direction.
 */
export function visible(text: string): string {
  return text.replace(/[^\n\t\P{Cc}]|[\p{Zl}\p{Zp}\p{Bidi_Control}]/gu, escaped);
}

/**
 * An argument or a path on one line: as it is where it cannot be misread, otherwise quoted, with everything escaped
 * that is invisible or looks like a space.
 */
export function visibleWord(text: string): string {
  if (/^[\w@%+=:,./${}~^*[\]-]+$/.test(text)) return text;
  return JSON.stringify(text).replace(
    /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}]/gu,
    (character) => character === " " ? character : escaped(character),
  );
}

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
