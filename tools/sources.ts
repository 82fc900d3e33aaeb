/**
 * The repository's own source files, for the checks in this folder.
 * @module
 */
import { readdirSync } from "node:fs";
import { join, relative, sep } from "node:path";

/** Absolute path of the repository. */
export const ROOT = join(import.meta.dirname!, "..");

const SKIPPED = new Set(["node_modules", "runs", "dist", ".git", "__pycache__", ".hone", ".venv", ".pytest_cache"]);

/** Files below the root whose names end in one of `endings`, as relative paths with `/`. */
export function sources(endings: string[], root = ROOT): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.some((ending) => entry.name.endsWith(ending)))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((path) => !path.split("/").some((part) => SKIPPED.has(part)))
    .sort();
}
