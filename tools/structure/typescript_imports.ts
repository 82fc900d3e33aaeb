/**
 * The imports of TypeScript files as Deno reads them (`deno info --json`), those of types included. `import()` counts
 * as lazy even where a file waits for it while it loads: Deno's graph does not tell the two apart.
 * @module
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Import } from "./finding.ts";

interface Resolved {
  specifier?: string;
  span?: { start: { line: number } };
}

/** The part of `deno info --json` that is read here. */
export interface Graph {
  modules: {
    specifier: string;
    dependencies?: { specifier: string; code?: Resolved; type?: Resolved; isDynamic?: boolean }[];
  }[];
}

/** The imports of these files and of what they reach. Nothing is downloaded. */
export async function typescriptImports(root: string, files: readonly string[]): Promise<Import[]> {
  const entry = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(entry, files.map((file) => `import "${pathToFileURL(join(root, file))}";\n`).join(""));
    const offline = ["--no-npm", "--no-remote", "--no-lock"];
    const args = ["info", "--json", ...offline, "--config", join(root, "deno.json"), entry];
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    if (!success) throw new Error(`deno info failed: ${text(stderr)}`);
    return importsOf(JSON.parse(text(stdout)), pathToFileURL(`${root}/`).href);
  } finally {
    await Deno.remove(entry);
  }
}

/** The imports in a graph by files below `base`, a URL that ends in `/`. */
export function importsOf({ modules }: Graph, base: string): Import[] {
  const path = (url: string) => url.startsWith(base) ? decodeURIComponent(url.slice(base.length)) : url;
  return modules.filter(({ specifier }) => specifier.startsWith(base)).flatMap((module) =>
    (module.dependencies ?? []).map(({ specifier, code, type, isDynamic = false }): Import => {
      const found = code ?? type;
      return {
        file: path(module.specifier),
        line: (found?.span?.start.line ?? 0) + 1,
        specifier,
        target: path(found?.specifier ?? specifier),
        lazy: isDynamic,
      };
    })
  );
}
