/**
 * A module's name is its own: two files that are called alike are taken for each other in a search, a stack trace and a
 * conversation. Tests are named for what they test; cases and examples stand alone.
 * @module
 */
import { posix } from "node:path";
import { type Finding, isTest } from "./finding.ts";

const SHARED: ReadonlySet<string> = new Set(["mod.ts", "__init__.py", "__main__.py", "conftest.py"]);

/** Every module whose name an earlier one has. */
export function moduleNames(files: readonly string[]): Finding[] {
  const modules = files.filter((file) =>
    /\.(ts|py)$/.test(file) && !isTest(file) && !/^(tests\/cases|examples)\//.test(file) &&
    !SHARED.has(posix.basename(file))
  );
  return [...Map.groupBy(modules, (file) => posix.basename(file))].flatMap(([name, [first, ...others]]) =>
    others.map((file): Finding => ({
      rule: "module names",
      file,
      line: 1,
      problem: `a second module called ${name}, after ${first}`,
      wanted: "a name of its own that says what is in it",
    }))
  );
}
