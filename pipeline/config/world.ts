/**
 * A pipeline's requirements on the machine: files and folders that exist, environment variables that are set.
 * @module
 */
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { readText } from "../common/read_text.ts";
import { config as say, reasonOf } from "../diagnostics/mod.ts";
import type { JsonObject } from "../events.ts";
import { fieldName, type Path, type Source, valueAt } from "./source.ts";
import type { Finding } from "./stage_graph.ts";

/** True for text that starts like a path. */
export function isRelative(value: unknown): value is string {
  return typeof value === "string" && /^\.{1,2}[\\/]/.test(value) && !value.includes("\n");
}

/** Gives servers that have neither command nor url the one of `MCP_URL`, which is set. */
export function fillAddresses({ raw, doc }: Source): void {
  const servers = valueAt(raw, ["servers"]);
  if (typeof servers !== "object" || servers === null) return;
  for (const [name, entry] of Object.entries(servers)) {
    if (entry === null) doc.setIn(["servers", name], doc.createNode({ url: "${MCP_URL}" }));
    else if (typeof entry === "object" && !("command" in entry) && !("url" in entry)) {
      doc.setIn(["servers", name, "url"], doc.createNode("${MCP_URL}"));
    }
  }
}

/** The text of a file that a field names, or why it cannot be read. */
export async function namedText(named: string, path: Path, base_dir: string): Promise<string | Finding> {
  try {
    return await readText(resolve(base_dir, named));
  } catch (error) {
    const field = fieldName(path);
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    const diagnostic = missing
      ? say.path_not_found(field, named, base_dir)
      : say.path_unreadable(field, named, reasonOf(error));
    return { diagnostic, path };
  }
}

/** Settings marked with `.meta({ path: "exists" })` in the schema (a path, or a list of them) that do not exist. */
export async function missingPaths(
  schema: JsonObject | Record<string, unknown>,
  value: unknown,
  path: Path,
  base_dir: string,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  if (schema.path === "exists") {
    for (const [i, entry] of [value].flat().entries()) {
      const at = Array.isArray(value) ? [...path, i] : path;
      if (typeof entry === "string") findings.push(...await missing(entry, at, base_dir));
    }
  }
  for (const [key, inner] of Object.entries((schema.properties ?? {}) as Record<string, JsonObject>)) {
    findings.push(...await missingPaths(inner, valueAt(value, [key]), [...path, key], base_dir));
  }
  return findings;
}

/** Missing files and folders named by the pipeline's fields; servers are checked only if they are `inline`. */
export async function missingFiles(
  value: Record<string, unknown>,
  inline: boolean,
  base_dir: string,
): Promise<Finding[]> {
  const named: [unknown, Path][] = [
    [valueAt(value, ["agent", "system_prompt"]), ["agent", "system_prompt"]],
    [value.model, ["model"]],
    ...Object.keys(valueAt(value, ["evaluate", "models"]) ?? {}).map((name): [unknown, Path] => {
      const at = ["evaluate", "models", name, "system_prompt"];
      return [valueAt(value, at), at];
    }),
  ];
  const wanted = named.filter(([path]) => isRelative(path));
  for (const [name, server] of inline && value.servers ? Object.entries(value.servers) : []) {
    for (const key of ["fixture", "cwd"]) {
      const path = valueAt(server, [key]);
      if (typeof path === "string" && !path.includes("${")) wanted.push([path, ["servers", name, key]]);
    }
  }
  return (await Promise.all(wanted.map(([path, at]) => missing(path as string, at, base_dir, isFolderOf(value, at)))))
    .flat();
}

/** Whether a field names a folder: a fixture of a server over the network is refused as such. */
function isFolderOf(value: Record<string, unknown>, [field, server]: Path): boolean {
  return field === "servers" && valueAt(value, ["servers", server!, "url"]) === undefined;
}

/** Fields whose name ends in `_env` and whose environment variable is not set. */
export function unsetNames(
  value: unknown,
  env: Record<string, string>,
  spared: (field: string) => boolean,
  path: Path = [],
): Finding[] {
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) => {
    const here = [...path, Array.isArray(value) ? Number(key) : key];
    if (!key.endsWith("_env") || typeof inner !== "string" || env[inner] !== undefined) {
      return unsetNames(inner, env, spared, here);
    }
    return spared(fieldName(here)) ? [] : [{ diagnostic: say.env_named_not_set(inner, fieldName(here)), path: here }];
  });
}

async function missing(path: string, at: Path, base_dir: string, folder = false): Promise<Finding[]> {
  const found = await stat(resolve(base_dir, path)).catch(() => null);
  if (!found) return [{ diagnostic: say.path_not_found(fieldName(at), path, base_dir), path: at }];
  if (!folder || found.isDirectory()) return [];
  return [{ diagnostic: say.path_not_folder(fieldName(at), path), path: at }];
}
