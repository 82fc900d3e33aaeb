/**
 * Files that have grown past 400 lines: a sign that two things live together. A warning, no finding.
 * @module
 */

const MOST = 400;

/** A line for every file, given as path and text, that is too long. */
export function longFiles(files: ReadonlyMap<string, string>): string[] {
  return [...files].map(([file, text]) => ({ file, lines: text.trimEnd().split("\n").length }))
    .filter(({ lines }) => lines > MOST)
    .map(({ file, lines }) => `warning: ${file}:${MOST + 1}: the file has ${lines} lines; wanted: at most ${MOST}`);
}
