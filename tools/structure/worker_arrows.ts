/**
 * Which module of the Python worker may import which. What lies at the package's root or in a folder that is no engine
 * is neutral: it loads without any engine and without an engine's libraries. Engines use what is neutral and never
 * each other.
 *
 * Assumed: an engine is the folder of its name; what a neutral module imports inside a function is its own affair; what
 * an engine imports counts wherever it stands, since it could not run without it. Libraries that several engines may
 * use (numpy, tokenizers, transformers, safetensors) are nobody's.
 * @module
 */
import type { Finding, Import } from "./finding.ts";

/** The worker's package. */
export const WORKER = "plugins/trainer/worker/hone_worker";

/** Every engine, and the libraries that are its own: no other engine and no neutral module imports them. */
const ENGINES: Record<string, string[]> = {
  cpu_llama: [],
  mlx: ["mlx", "mlx_lm"],
  lightning: ["torch", "lightning", "peft"],
};

/** The one neutral module that may import engines while it loads, because it chooses one. */
const CHOOSER = "engine_choice.py";

/** Modules of an engine that use another's libraries after all. */
const BRIDGES: Record<string, string[]> = {
  // Takes the weights out of a module of mlx-lm.
  "cpu_llama/from_mlx.py": ["mlx", "mlx_lm"],
};

/** Every import of the worker's package against its arrows. */
export function workerArrows(imports: readonly Import[]): Finding[] {
  return imports.filter(({ file }) => file.startsWith(`${WORKER}/`)).flatMap(({ file, line, target, lazy }) => {
    const imported = inPackage(target);
    const wanted = wantedInstead(inPackage(file), imported, lazy);
    return wanted ? [{ rule: "arrows", file, line, problem: `imports ${imported}`, wanted }] : [];
  });
}

/** `module` and `imported` are paths in the package; `imported` may be a library's name. */
function wantedInstead(module: string, imported: string, lazy: boolean): string | undefined {
  const from = engineOf(module);
  const to = engineOf(imported);
  const library = imported.split(".")[0]!;
  const owner = to ?? Object.keys(ENGINES).find((engine) => ENGINES[engine]!.includes(library));
  if (!owner || owner === from || BRIDGES[module]?.includes(library)) return undefined;
  if (from) return to ? "engines use neutral modules and never each other" : `only ${owner}/ imports this library`;
  if (lazy || module === CHOOSER) return undefined;
  return `neutral modules load without any engine; ${CHOOSER} alone imports one`;
}

function inPackage(path: string): string {
  return path.startsWith(`${WORKER}/`) ? path.slice(WORKER.length + 1) : path;
}

/** The engine whose folder a module lies in. */
function engineOf(module: string): string | undefined {
  return Object.keys(ENGINES).find((engine) => module.startsWith(`${engine}/`));
}
