/**
 * What the rules in this folder find and what they look at: paths are relative to the repository, with `/`.
 * @module
 */

/** One place where the repository is not built as it says. Lines are 1-based. */
export interface Finding {
  rule: "arrows" | "circles" | "loose files" | "function length" | "module names" | "test doubles";
  file: string;
  line: number;
  problem: string;
  wanted: string;
}

/** One import, the first of its file for this specifier. */
export interface Import {
  file: string;
  line: number;
  specifier: string;
  /** The imported file; what it is called where it is none of the repository's. */
  target: string;
  /** Done when something is called (`import()`, or inside a Python function), and not when the file is loaded. */
  lazy: boolean;
}

/** A finding as a line that editors can follow. */
export function lineOf({ file, line, problem, wanted }: Finding): string {
  return `${file}:${line}: ${problem}; wanted: ${wanted}`;
}

/** Tests and benches, in both languages. */
export function isTest(file: string): boolean {
  return /(_(test|bench)\.ts|(^|\/)test_\w+\.py)$/.test(file);
}
