/**
 * `hone new`: a plugin in one file, its test, and a `deno.json` that lets editors and `deno test` find hone from
 * outside its repository. Never overwrites a file.
 * @module
 */
import { mkdir, readFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { z } from "zod";
import { writeText } from "../../pipeline/common/write_aside.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { isKind, KIND_NAMES } from "../../pipeline/kinds.ts";
import { pluginText, testText } from "./new_templates.ts";
import { defineVerb, indented } from "./verb.ts";

const ROOT = new URL("../../", import.meta.url);

export default defineVerb({
  name: "new",
  summary: "Create a plugin.",
  description:
    "Writes <name>.ts, <name>_test.ts and, if there is none, a deno.json. The plugin works without changes: use its path " +
    "in a pipeline.",
  effect: "acts",
  positional: [
    { name: "kind", description: `One of ${KIND_NAMES.join(", ")}.` },
    { name: "name", description: "Name of the plugin: lower-case letters, digits and -." },
  ],
  args: z.strictObject({ dir: z.string().default(".").describe("Folder to write to.") }),
  result: z.object({
    use: z.string().describe("Value of `use:` for a pipeline in this folder."),
    written: z.array(z.string()).describe("Absolute paths."),
  }),
  examples: ["hone new judge polite", "hone new scenario-source tickets --dir ./plugins"],
  async run({ args, positional: [kind = "", name = ""], caller }) {
    if (!isKind(kind)) throw new HoneError(cli.unknown_kind(kind, KIND_NAMES));
    if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) throw new HoneError(cli.plugin_name(name));
    const stem = name.replaceAll("-", "_");
    const files = {
      [`${stem}.ts`]: pluginText(kind, name),
      [`${stem}_test.ts`]: testText(kind, stem),
      "deno.json": await editorConfig(),
    };
    const dir = resolve(args.dir);
    await mkdir(dir, { recursive: true });
    const written: string[] = [];
    for (const [file, text] of Object.entries(files)) {
      const path = join(dir, file);
      const done = await writeText(path, text, { flag: "wx" }).then(() => true, (error) => {
        if (error.code !== "EEXIST") throw error;
        if (file !== "deno.json") throw new HoneError(cli.file_exists(path));
        return false;
      });
      if (done) written.push(path);
      else caller.note(`${file} already exists and was not changed`);
    }
    return { use: `./${relative(Deno.cwd(), join(dir, `${stem}.ts`))}`, written };
  },
  formats: { json: indented },
  text({ use, written }) {
    const test = use.replace(/\.ts$/, "_test.ts");
    return `${written.join("\n")}\n\nTest it:  deno test -A ${test}\nUse it:   - use: ${use}`;
  },
});

/** A `deno.json` with hone's own imports, relative ones made absolute: hone's modules are resolved with it too. */
async function editorConfig(): Promise<string> {
  const own = JSON.parse(await readFile(new URL("deno.json", ROOT), "utf8"));
  const imports = Object.entries(own.imports as Record<string, string>).map(([name, target]) => [
    name,
    target.startsWith("./") ? new URL(target, ROOT).href : target,
  ]);
  const { compilerOptions, nodeModulesDir } = own;
  return JSON.stringify({ nodeModulesDir, imports: Object.fromEntries(imports), compilerOptions }, null, 2) + "\n";
}
