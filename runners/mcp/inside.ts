/**
 * The files that clients of the MCP server may name: those below the folder that it was started in, and below its
 * runs/, which may be a link. Links are followed before a path is judged.
 * @module
 */
import { realpath } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";

/** The real path. Throws PATH_OUTSIDE for any other, whether it exists or not. */
export async function inside(path: string): Promise<string> {
  const roots = await Promise.all([Deno.cwd(), resolve("runs")].map(real));
  const found = await real(resolve(path));
  if (roots.some((root) => contains(root, found))) return found;
  throw new HoneError(cli.path_outside(path, Deno.cwd()));
}

/** The path without links, as far as it exists. */
async function real(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return dirname(path) === path ? path : join(await real(dirname(path)), basename(path));
  }
}

function contains(root: string, path: string): boolean {
  const way = relative(root, path);
  return !isAbsolute(way) && way.split(sep)[0] !== "..";
}
