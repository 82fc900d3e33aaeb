/**
 * No Python function of more lines than a TypeScript one may have (`function_length.ts`), tests exempt.
 * @module
 */
import { type Finding, isTest } from "./finding.ts";
import { MOST_LINES, SHORTER } from "./function_length.ts";
import { pythonFunctions } from "./python_source.ts";

/** Every function that is too long in Python files, given as path and text. */
export function longPythonFunctions(files: ReadonlyMap<string, string>): Finding[] {
  return [...files].filter(([file]) => !isTest(file)).flatMap(([file, text]) =>
    pythonFunctions(text).filter(({ lines }) => lines > MOST_LINES).map(({ name, line, lines }): Finding => ({
      rule: "function length",
      file,
      line,
      problem: `${name} has ${lines} lines`,
      wanted: SHORTER,
    }))
  );
}
