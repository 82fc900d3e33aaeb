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
import { loadProgram, programPath } from "./program/exec_plugin.ts";
import { isKind, KIND_NAMES } from "./kinds.ts";
import type { Plugin } from "./plugin.ts";

/** Built-in plugins by `kind/name`, imported on demand. */
export type Builtins = Record<string, () => Promise<{ default: Plugin }>>;

const NUMBER = "(0|[1-9]\\d*)";
/** One exact version, with its pre-release and build; no range and no tag. */
const VERSION = `${NUMBER}\\.${NUMBER}\\.${NUMBER}(-[0-9a-z-]+(\\.[0-9a-z-]+)*)?(\\+[0-9a-z-]+(\\.[0-9a-z-]+)*)?`;
const PINNED = new RegExp(
  `^npm:(@[a-z0-9_-][a-z0-9._-]*/)?[a-z0-9_-][a-z0-9._-]*@${VERSION}(/[\\w@-][\\w.@-]*)*$`,
  "i",
);

/** What `use:` names: a built-in plugin, an npm package, a module, or a program. */
export type PluginSource =
  | { from: "builtin" | "npm" | "address" }
  | { from: "module" | "program"; path: string };

/** Where the plugin that `use` names is loaded from; reads nothing. Relative paths are relative to `base_dir`. */
export function pluginSource(use: string, base_dir: string): PluginSource {
  if (/^(https?|jsr|data|blob|node|bun):/.test(use)) return { from: "address" };
  if (use.startsWith("exec:")) return { from: "program", path: programPath(use, base_dir) };
  if (use.startsWith("npm:")) return { from: "npm" };
  if (!isPath(use)) return { from: "builtin" };
  const local = /^file:\/\/\/(?!.*%(2f|5c))/i.test(use);
  return { from: "module", path: local ? fileURLToPath(use) : resolve(base_dir, use) };
}

/** Loads the plugin that `use` names; throws HoneError. Relative paths are relative to `base_dir`. */
export async function loadPlugin(
  use: string,
  options: { base_dir: string; builtins: Builtins; signal?: AbortSignal },
): Promise<Plugin> {
  const { base_dir, builtins } = options;
  const source = pluginSource(use, base_dir);
  if (source.from === "address") throw new HoneError(loader.remote_refused(use));
  if (source.from === "program") return await loadProgram(use, base_dir, options.signal);
  if (source.from === "npm") {
    if (!PINNED.test(use)) throw new HoneError(loader.npm_unpinned(use));
    return accept(use, await load(use, () => import(use)));
  }
  if (source.from === "module") {
    const { path } = source;
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
