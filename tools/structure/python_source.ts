/**
 * What the rules need of Python files: their functions, and which file or library an import names. Read with Lezer's
 * grammar, so that the gate needs no Python.
 * @module
 */
import { parser } from "@lezer/python";
import { posix } from "node:path";
import type { Import } from "./finding.ts";

/** A function or method; `lines` counts from `def` to its last line. */
export interface PythonFunction {
  name: string;
  line: number;
  lines: number;
}

interface Statement {
  text: string;
  line: number;
  lazy: boolean;
}

/** The functions of a text, inner ones after their outer ones. */
export function pythonFunctions(text: string): PythonFunction[] {
  const found: PythonFunction[] = [];
  parser.parse(text).iterate({
    enter({ name, from, to, node }) {
      if (name !== "FunctionDefinition") return;
      const called = node.getChild("VariableName");
      const body = text.slice(from, to).trimEnd();
      found.push({
        name: called ? text.slice(called.from, called.to) : "?",
        line: lineAt(text, from),
        lines: body.split("\n").length,
      });
    },
  });
  return found;
}

/**
 * The imports of Python files, given as path and text. `folder` is where absolute imports start; `from a import b` is
 * an import of the module `a/b.py` where there is one, and of `a` otherwise. What no file is found for keeps its name.
 */
export function pythonImports(files: ReadonlyMap<string, string>, folder: string): Import[] {
  return [...files].flatMap(([file, text]) =>
    importStatements(text).flatMap(({ text, line, lazy }) =>
      modulesOf(text).flatMap(({ module, names }) => {
        const path = pathOf(file, module, folder);
        const targets = names.map((name) => fileOf(posix.join(path, name), files) ?? fileOf(path, files) ?? module);
        const all = names.length > 0 ? targets : [fileOf(path, files) ?? module];
        return [...new Set(all)].map((target): Import => ({ file, line, specifier: module, target, lazy }));
      })
    )
  );
}

function importStatements(text: string): Statement[] {
  const found: Statement[] = [];
  let functions = 0;
  parser.parse(text).iterate({
    enter({ name, from, to }) {
      if (name === "FunctionDefinition") functions++;
      if (name !== "ImportStatement") return;
      const statement = text.slice(from, to).replace(/#.*$/gm, "").replace(/[\\()\s]+/g, " ").trim();
      found.push({ text: statement, line: lineAt(text, from), lazy: functions > 0 });
    },
    leave({ name }) {
      if (name === "FunctionDefinition") functions--;
    },
  });
  return found;
}

/** Of `from a import b as c, d`: `a` with `b` and `d`. Of `import a, b.c as d`: `a` and `b.c`, with no names. */
function modulesOf(statement: string): { module: string; names: string[] }[] {
  const listed = (text: string) => text.split(",").map((one) => one.trim().split(" ")[0]!).filter(Boolean);
  const [, module, names] = /^from ?(\S+) import ?(.*)$/.exec(statement) ?? [];
  if (module !== undefined) return [{ module, names: listed(names!) }];
  return listed(statement.replace(/^import /, "")).map((module) => ({ module, names: [] }));
}

/** The path of a module without its ending; leading dots climb from the importing file. */
function pathOf(file: string, module: string, folder: string): string {
  const [, dots, rest] = /^(\.*)(.*)$/.exec(module)!;
  const start = dots ? posix.join(posix.dirname(file), ...Array(dots.length - 1).fill("..")) : folder;
  return posix.join(start, rest!.replaceAll(".", "/"));
}

function fileOf(path: string, files: ReadonlyMap<string, string>): string | undefined {
  return [`${path}.py`, `${path}/__init__.py`].find((file) => files.has(file));
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split("\n").length;
}
