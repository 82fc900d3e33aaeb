/**
 * Rows as text for a terminal. Cells hold text from models and tools, so control characters are escaped.
 * @module
 */

/** One line, control and direction characters escaped, truncated to `width`. */
export function oneLine(value: unknown, width: number): string {
  const text = typeof value === "string" ? value : value === null || value === undefined ? "" : JSON.stringify(value);
  // Escaping never shortens text, so only the first `width` characters matter.
  const shown = text.slice(0, width + 1).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
  return shown.length > width || text.length > width ? shown.slice(0, width - 1) + "…" : shown;
}

/** Text of several lines, other control characters escaped. */
export function someLines(text: string): string {
  return text.replace(/[^\n\t\P{Cc}]/gu, escaped);
}

function escaped(character: string): string {
  const short: Record<string, string> = { "\n": "\\n", "\t": "\\t", "\r": "\\r" };
  return short[character] ?? `\\u{${character.codePointAt(0)!.toString(16)}}`;
}

/** Columns aligned under their names, numbers right-aligned. `width` limits a cell. */
export function table(rows: Record<string, unknown>[], width = 60): string {
  const names = Object.keys(rows[0] ?? {});
  const columns = names.map((name) => {
    const cells = rows.map((row) => oneLine(row[name], width));
    const numeric = rows.every((row) => row[name] === null || typeof row[name] === "number");
    const head = oneLine(name, width);
    const widest = Math.max(head.length, ...cells.map((cell) => cell.length));
    return [head, ...cells].map((cell) => numeric ? cell.padStart(widest) : cell.padEnd(widest));
  });
  return [0, ...rows.map((_, i) => i + 1)].map((i) => columns.map((column) => column[i]).join("  ").trimEnd()).join(
    "\n",
  );
}
