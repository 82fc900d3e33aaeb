/**
 * Shared by the verbs that start a run, before anything is loaded: flags, the run's id, its folder.
 * @module
 */
import { randomBytes } from "node:crypto";
import { basename, resolve } from "node:path";
import { z } from "zod";
import type { LoadOptions } from "../../pipeline/config/pipeline_file.ts";
import { Source } from "../../pipeline/config/source.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Json } from "../../pipeline/events.ts";
import { yes } from "./consent.ts";
import { terminalOnly } from "./verb.ts";

/** Flags of every verb that runs a pipeline. */
export const performing = {
  yes,
  verbose: terminalOnly(z.boolean().default(false).describe("Also show debug lines of plugins.")),
};

/** `a.b=value` words as overrides; values are read as YAML. */
export function overridesOf(words: string[]): NonNullable<LoadOptions["overrides"]> {
  return Object.fromEntries(words.map((word) => {
    const at = word.indexOf("=");
    const path = word.slice(0, Math.max(0, at));
    if (path.split(".").includes("")) {
      throw new HoneError(cli.bad_value("--set", word, "expected path=value, as in train.steps=20"));
    }
    const value = new Source(word.slice(at + 1), "--set");
    const [problem] = value.syntax();
    if (problem) throw new HoneError(cli.bad_value("--set", word, problem.message));
    return [path, value.raw as Json];
  }));
}

/** A run's id: the pipeline's name, the time, and four random characters. */
export function newId(name: string): string {
  const time = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  return `${name}-${time}-${randomBytes(2).toString("hex")}`;
}

/** `Verb.detached` of verbs that create a run: the folder is chosen before it starts. */
export async function newRunDetached(positional: string[]): Promise<{ run_dir: string; words: string[] }> {
  const run_dir = resolve("runs", newId(nameOf(positional[0]!)));
  return { run_dir, words: [...positional, "--run-dir", run_dir, "--yes"] };
}

/** The file's name, or that of its folder if the file is called pipeline.yaml. */
function nameOf(path: string): string {
  const name = basename(path).replace(/\.ya?ml$/i, "");
  return (name === "pipeline" ? basename(resolve(path, "..")) : name).replaceAll(/[^A-Za-z0-9._-]/g, "-").slice(0, 40);
}
