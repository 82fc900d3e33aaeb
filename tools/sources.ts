/**
 * The repository's own source files, for the checks in this folder.
 * @module
 */
import { readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";

/** Absolute path of the repository. */
export const ROOT = join(import.meta.dirname!, "..");

const SKIPPED =
  /(^|\/)(node_modules|\.git|__pycache__|\.hone|\.venv|\.pytest_cache)\/|^\.git$|^(?!tests\/)(.*\/)?(runs|dist)\//;

/** Files below the root, as relative paths with `/`. */
export function sources(root = ROOT): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((path) => !SKIPPED.test(path))
    .sort();
}
