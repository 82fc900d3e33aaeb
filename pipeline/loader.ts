/**
 * Loads the plugin that `use:` names: a built-in, a path, a pinned npm package, or a program in any language. Errors
 * say what was tried and what is expected. The caller passes the table of built-ins, so that the core imports no
 * plugin.
 * @module
 */
import { stat } from "node:fs/promises";
import { isAbsolute, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { HoneError, loader } from "./diagnostics/mod.ts";
import { loadProgram } from "./program/exec_plugin.ts";
import { isKind, KIND_NAMES } from "./kinds.ts";
import type { Plugin } from "./plugin.ts";

/** Built-in plugins by `kind/name`, imported on demand. */
export type Builtins = Record<string, () => Promise<{ default: Plugin }>>;

const PINNED = /^npm:(@[a-z0-9._-]+\/)?[a-z0-9._-]+@\d+\.\d+\.\d+[^/]*(\/.+)?$/i;

/** Loads the plugin that `use` names; throws HoneError. Relative paths are relative to `base_dir`. */
export async function loadPlugin(
  use: string,
  options: { base_dir: string; builtins: Builtins; signal?: AbortSignal },
): Promise<Plugin> {
  const { base_dir, builtins } = options;
  if (/^(https?|jsr|data|blob):/.test(use)) throw new HoneError(loader.remote_refused(use));
  if (use.startsWith("exec:")) return await loadProgram(use, base_dir, options.signal);
  if (use.startsWith("npm:")) {
    if (!PINNED.test(use)) throw new HoneError(loader.npm_unpinned(use));
    return accept(use, await load(use, () => import(use)));
  }
  if (isPath(use)) {
    const path = use.startsWith("file:") ? fileURLToPath(use) : resolve(base_dir, use);
    if (!(await isFile(path))) throw new HoneError(loader.plugin_not_found(use, path));
    return accept(use, await load(use, () => import(pathToFileURL(path).href)));
  }
  const builtin = Object.hasOwn(builtins, use) ? builtins[use] : undefined;
  if (!builtin) throw new HoneError(loader.unknown_plugin(use, Object.keys(builtins)));
  const plugin = accept(use, await load(use, builtin));
  const wanted = use.slice(0, use.indexOf("/"));
  if (plugin.kind !== wanted) throw new HoneError(loader.wrong_kind(use, plugin.kind, wanted));
  return plugin;
}

/** True if `use` is a path rather than the name of a built-in. */
function isPath(use: string): boolean {
  return /^(\.{1,2}[\\/]|file:)/.test(use) || isAbsolute(use) || /\.[mc]?[jt]s$/.test(use);
}

async function isFile(path: string): Promise<boolean> {
  return await stat(path).then((found) => found.isFile(), () => false);
}

async function load(use: string, importer: () => Promise<unknown>): Promise<unknown> {
  try {
    return await importer();
  } catch (error) {
    const cause = error instanceof Error ? error.message.split("\n")[0]! : String(error);
    const hint = Deno.build.standalone
      ? "the standalone binary cannot load code from files: use deno run -A mod.ts, or exec: with a program"
      : undefined;
    throw new HoneError(loader.plugin_broken(use, cause, hint), { cause: error });
  }
}

/** The module's default export as a plugin; throws if it is none. */
function accept(use: string, module: unknown): Plugin {
  const plugin = (module as { default?: unknown }).default;
  if (plugin === undefined) throw new HoneError(loader.no_default_export(use));
  if (plugin === null || typeof plugin !== "object") {
    throw new HoneError(loader.not_a_plugin(use, `its default export is a ${typeof plugin}`));
  }
  const { kind, name, config, examples, create } = plugin as Partial<Plugin>;
  if (!isKind(kind)) throw new HoneError(loader.unknown_kind(use, kind, KIND_NAMES));
  const lacks = [
    typeof name === "string" || "name",
    typeof config?.safeParse === "function" || "config (a zod schema)",
    Array.isArray(examples) || "examples (a list)",
    typeof create === "function" || "create (a function)",
  ].filter((lack) => lack !== true);
  if (lacks.length > 0) throw new HoneError(loader.not_a_plugin(use, `it has no ${lacks.join(", no ")}`));
  return plugin as Plugin;
}
