/**
 * Names the files that have grown past 400 lines: a sign that two things live together. Warns, and does not fail.
 * Run: deno run -A tools/check_size.ts
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, sources } from "./sources.ts";

const CAP = 400;

/** Number of lines of a text. */
export function lineCount(text: string): number {
  return text === "" ? 0 : text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
}

if (import.meta.main) {
  const large = sources([".ts", ".py"])
    .map((file) => ({ file, lines: lineCount(readFileSync(join(ROOT, file), "utf8")) }))
    .filter(({ lines }) => lines > CAP);
  for (const { file, lines } of large) console.warn(`warning: ${file} has ${lines} lines, more than ${CAP}`);
  console.log(`${large.length} files above ${CAP} lines`);
}
