/**
 * Checks that the repository is built as AGENTS.md says, one rule a file under structure/: arrows, circles of files,
 * loose files, the length of functions and files, names of modules, test doubles. Prints what every rule finds; exit
 * code 1 where there is anything but a warning. (`deno lint` measures the functions of TypeScript.)
 * Run: deno run -A tools/check_structure.ts [ROOT]
 * @module
 */
import { readFileSync } from "node:fs";
import { join, posix, resolve } from "node:path";
import { ROOT, sources } from "./sources.ts";
import { arrows } from "./structure/arrows.ts";
import { circles } from "./structure/circles.ts";
import { longFiles } from "./structure/file_length.ts";
import { type Finding, lineOf } from "./structure/finding.ts";
import { looseFiles } from "./structure/loose_files.ts";
import { moduleNames } from "./structure/module_names.ts";
import { longPythonFunctions } from "./structure/python_length.ts";
import { pythonImports } from "./structure/python_source.ts";
import { testDoubles } from "./structure/test_doubles.ts";
import { typescriptImports } from "./structure/typescript_imports.ts";
import { WORKER, workerArrows } from "./structure/worker_arrows.ts";

/** What every rule finds below a folder, and the warnings. */
async function check(root: string): Promise<{ files: number; findings: Finding[]; warnings: string[] }> {
  const files = sources(root);
  const read = (pattern: RegExp) =>
    new Map(files.filter((file) => pattern.test(file)).map((file) => [file, readFileSync(join(root, file), "utf8")]));
  const typescript = read(/\.ts$/);
  const python = read(/\.py$/);
  const modules = [...typescript.keys()].filter((file) => /^(mod\.ts$|(pipeline|plugins|runners|tools)\/)/.test(file));
  const imports = await typescriptImports(root, modules);
  const worker = pythonImports(
    new Map([...python].filter(([file]) => file.startsWith(`${WORKER}/`))),
    posix.dirname(WORKER),
  );
  const texts = new Map([...typescript, ...python]);
  const findings = [
    ...arrows(imports),
    ...workerArrows(worker),
    ...circles([...imports, ...worker]),
    ...looseFiles(files),
    ...longPythonFunctions(python),
    ...moduleNames(files),
    ...testDoubles(texts),
  ];
  return { files: texts.size, findings, warnings: longFiles(texts) };
}

if (import.meta.main) {
  const root = resolve(Deno.args[0] ?? ROOT);
  const { files, findings, warnings } = await check(root);
  for (const line of [...warnings, ...findings.map(lineOf)]) console.error(line);
  console.log(`structure: ${files} files, ${findings.length} findings`);
  Deno.exit(findings.length > 0 ? 1 : 0);
}
