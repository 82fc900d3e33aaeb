/**
 * Refuses imports against the arrows: runners → plugins/mod.ts → plugins → mod.ts → pipeline. The core knows no plugin
 * and no runner; plugins never import plugins and reach the core through `@hone/hone`; nothing comes from an address.
 * Run: deno run -A tools/check_arrows.ts
 * @module
 */
import { readFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import { ROOT, sources } from "./sources.ts";

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?\bfrom\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)|(?:^|\n)\s*import\s*["']([^"']+)["']/g;

/**
 * What is wrong with a file importing `specifier`, or undefined. `file` and the target are relative to the root;
 * `plugins` are the files that plugins/mod.ts lists.
 */
export function wrongArrow(file: string, specifier: string, plugins: ReadonlySet<string>): string | undefined {
  if (/^(https?|jsr|data):/.test(specifier)) return "imports come from npm: or node:, through the import map";
  const alias: Record<string, string> = { "@hone/hone": "mod.ts", "@hone/hone/testing": "pipeline/testing.ts" };
  const target = specifier.startsWith(".") ? posix.join(dirname(file), specifier) : alias[specifier];
  if (!target || /_(test|bench)\.ts$/.test(file)) return undefined;
  const [from] = file.split("/");
  const [to] = target.split("/");
  if (from === "pipeline" && to !== "pipeline" && target.endsWith(".ts")) {
    return "the core knows no plugin and no runner";
  }
  if (from === "plugins" && to === "runners") return "plugins know no runner";
  if (from !== "plugins" || file === "plugins/mod.ts") return undefined;
  if (to === "pipeline") return 'plugins reach the core through "@hone/hone"';
  return target === "plugins/mod.ts" || plugins.has(target) ? "plugins never import plugins" : undefined;
}

/** Every import of a text. */
export function importsOf(text: string): string[] {
  const code = text.replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
  return [...code.matchAll(IMPORT)].map((match) => (match[1] ?? match[2] ?? match[3])!);
}

if (import.meta.main) {
  const files = sources([".ts"]).filter((file) => /^(mod\.ts|(pipeline|plugins|runners|tools)\/)/.test(file));
  const table = importsOf(readFileSync(join(ROOT, "plugins/mod.ts"), "utf8"));
  const plugins = new Set(table.map((specifier) => posix.join("plugins", specifier)));
  const wrong = files.flatMap((file) =>
    importsOf(readFileSync(join(ROOT, file), "utf8"))
      .map((specifier) => [specifier, wrongArrow(file, specifier, plugins)])
      .filter(([, why]) => why)
      .map(([specifier, why]) => `${file} imports ${specifier}: ${why}`)
  );
  for (const line of wrong) console.error(line);
  console.log(`${files.length} files, ${wrong.length} imports against the arrows`);
  Deno.exit(wrong.length > 0 ? 1 : 0);
}
