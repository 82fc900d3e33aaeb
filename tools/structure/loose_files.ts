/**
 * Folders whose files are counted: what lies loose in them is what the layout names and nothing else.
 * @module
 */
import { posix } from "node:path";
import type { Finding } from "./finding.ts";

const CONTRACTS = ["plugin", "kinds", "events", "bus", "loader"];

/** What may lie in a folder itself; folders below it are free. */
const LOOSE: Record<string, string[]> = {
  ".": [
    "mod.ts",
    "deno.json",
    "deno.lock",
    "README.md",
    "CHANGELOG.md",
    "AGENTS.md",
    "LICENSE",
    "SECURITY.md",
    ".gitignore",
  ],
  pipeline: [...CONTRACTS.flatMap((name) => [`${name}.ts`, `${name}_test.ts`]), "testing.ts", "testing_test.ts"],
  plugins: ["mod.ts", "README.md"],
  runners: [],
};

/** Every file that lies where the layout has none. */
export function looseFiles(files: readonly string[]): Finding[] {
  return files.flatMap((file): Finding[] => {
    const folder = posix.dirname(file);
    const allowed = LOOSE[folder];
    if (!allowed || allowed.includes(posix.basename(file))) return [];
    const where = folder === "." ? "at the top level" : `in ${folder}/`;
    const modules = allowed.filter((name) => !name.endsWith("_test.ts"));
    const wanted = modules.length > 0 ? `only ${modules.join(", ")} lie there` : "folders only";
    return [{ rule: "loose files", file, line: 1, problem: `lies loose ${where}`, wanted }];
  });
}
