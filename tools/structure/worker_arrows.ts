/**
 * Which module of the Python worker may import which. What lies at the package's root or in a folder that is no engine
 * is neutral: it loads without any engine and without an engine's libraries. Engines use what is neutral and never
 * each other.
 *
 * Assumed: an engine is the folder of its name; what a neutral module imports inside a function is its own affair; what an engine imports counts wherever it stands, since it could not run
 * without it. Libraries that several engines may use (numpy, tokenizers, transformers, safetensors) are nobody's.
 * @module
 */
import type { Finding, Import } from "./finding.ts";

/** The worker's package. */
export const WORKER = "plugins/trainer/worker/hone_worker";

/** Every engine, and the libraries that are its own: nobody else imports them. */
const ENGINES: Record<string, string[]> = {
  cpu_llama: [],
  mlx: ["mlx", "mlx_lm"],
  lightning: ["torch", "lightning", "peft"],
};

/** The one neutral module that may import engines while it loads, because it chooses one. */
const CHOOSER = `${WORKER}/__main__.py`;

/** What an engine may use after all: the engine, then the other whose modules or libraries it uses. */
const EXCEPTIONS: [string, string][] = [];

/** Every import of the worker's package against its arrows. */
export function workerArrows(imports: readonly Import[]): Finding[] {
  return imports.filter(({ file }) => file.startsWith(`${WORKER}/`)).flatMap((one): Finding[] => {
    const wanted = wantedInstead(one);
    const { file, line, specifier } = one;
    return wanted ? [{ rule: "arrows", file, line, problem: `imports ${specifier}`, wanted }] : [];
  });
}

function wantedInstead({ file, target, lazy }: Import): string | undefined {
  const from = engineOf(file);
  const to = engineOf(target);
  const owner = Object.keys(ENGINES).find((engine) => ENGINES[engine]!.includes(target.split(".")[0]!));
  const other = to ?? owner;
  if (!other || other === from) return undefined;
  if (from) {
    if (EXCEPTIONS.some(([engine, used]) => engine === from && used === other)) return undefined;
    return to ? "engines use neutral modules and never each other" : `only ${owner}/ imports the library of its engine`;
  }
  if (lazy || file === CHOOSER) return undefined;
  return "neutral modules load without any engine; only the place that chooses one imports it, in a function";
}

/** The engine whose folder a file lies in. */
function engineOf(path: string): string | undefined {
  const [folder, ...rest] = path.startsWith(`${WORKER}/`) ? path.slice(WORKER.length + 1).split("/") : [];
  return rest.length > 0 && folder! in ENGINES ? folder : undefined;
}
