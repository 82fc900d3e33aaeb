/**
 * `hone validate`: reads pipelines as a run would, and reports all their problems, or what a run would do.
 * Takes files, folders, globs, and Markdown, whose YAML fences are checked if they hold a whole pipeline.
 * @module
 */
import { access, constants, glob, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseDocument } from "yaml";
import { z } from "zod";
import { textOf } from "../../pipeline/common/read_text.ts";
import { examinePipeline } from "../../pipeline/config/pipeline_file.ts";
import type { PipelineConfig } from "../../pipeline/config/pipeline_schema.ts";
import { unparsable } from "../../pipeline/config/yaml_bounds.ts";
import { cli, HoneError, render } from "../../pipeline/diagnostics/mod.ts";
import { builtins } from "../../plugins/mod.ts";
import { visibleWord } from "../../pipeline/common/visible.ts";
import { approval, yes } from "./consent.ts";
import { planned_run, plannedLines, plannedRun } from "./planned_run.ts";
import { diagnostic } from "./results.ts";
import { type Caller, defineVerb, indented, type VerbCall } from "./verb.ts";

const args = z.strictObject({
  text_only: z.boolean().default(false).describe(
    "Check only the text: load no custom plugins and look up no paths or environment variables.",
  ),
  yes,
});

const checked = z.object({
  file: z.string(),
  diagnostics: z.array(diagnostic).describe("The problems; empty if there are none."),
  skipped: z.array(z.string()).describe("Plugins that were not loaded, because their code is not approved."),
  plan: planned_run.optional().describe(
    "What a run would do; absent with problems or skipped plugins, and where only the text is checked.",
  ),
});

/** With what its text needs and JSON does not. */
interface Checked extends z.output<typeof checked> {
  config?: PipelineConfig;
}

export default defineVerb({
  name: "validate",
  summary: "Check pipelines without running them.",
  description:
    "Reads each pipeline as a run would: fields, plugins and their settings, paths, environment variables, and whether " +
    "the stages can be combined. Reports all problems, each with its position; of a single pipeline without problems, " +
    "what a run would do: scenarios by split and tag, rollouts, optimiser steps, calls of judges, programs, and the time " +
    "at the speed of earlier runs on this machine. In Markdown, YAML fences that hold a " +
    "whole pipeline are checked too, except for the paths and variables that they name. Starts no server; plugins " +
    "that are not built in are loaded only if their code is approved: by an earlier run, or by --yes.",
  effect: "reads",
  exit_is_result: true,
  restricted:
    "This server checks only the text: custom plugins are not loaded, paths and environment variables not looked up.",
  positional: [{ name: "files", description: "Pipelines, folders, globs or Markdown files.", variadic: true }],
  args,
  result: z.object({ ok: z.boolean(), files: z.array(checked) }),
  examples: [
    "hone validate examples/files/pipeline.yaml",
    "hone validate 'examples/**/*.yaml' README.md --format github",
  ],
  async run(call): Promise<{ ok: boolean; files: Checked[] }> {
    const { args, positional, caller } = call;
    const files: Checked[] = [];
    const world = caller.loads_code !== false && !args.text_only;
    for (const file of await expand(positional, caller)) files.push(...await check(file, world, call));
    return { ok: files.every(({ diagnostics }) => diagnostics.length === 0), files };
  },
  formats: { json: validated, github: ({ files }) => render(problems(files), "github") },
  text({ ok, files }) {
    const good = files.filter(({ diagnostics }) => diagnostics.length === 0).map(({ file }) => `${file}: ok`);
    const [{ plan, config } = {}] = files.length === 1 ? files : [];
    const planned = plan && config ? plannedLines(config, plan).map((line) => `  ${line}`) : [];
    return [...(ok ? [] : [render(problems(files), "text")]), ...good, ...planned].join("\n");
  },
  remarks: ({ files }) =>
    files.filter(({ skipped }) => skipped.length > 0).map(({ file, skipped }) =>
      `${file}: not loaded, and their settings not checked: ${
        skipped.map(visibleWord).join(", ")
      }; --yes approves their code`
    ),
  exit: ({ ok }) => ok ? 0 : 2,
});

function validated({ ok, files }: { ok: boolean; files: Checked[] }): string {
  return indented({ ok, files: files.map(({ config: _, ...file }) => file) });
}

function problems(files: Checked[]) {
  return files.flatMap(({ diagnostics }) => diagnostics);
}

async function check(file: string, world: boolean, call: VerbCall<z.output<typeof args>>): Promise<Checked[]> {
  const { caller, signal } = call;
  const path = await caller.within(file);
  let text: string;
  try {
    text = await textOf(path);
  } catch (error) {
    const { diagnostics } = error as HoneError;
    return [{ file, diagnostics: diagnostics.map((one) => ({ ...one, file })), skipped: [] }];
  }
  const approve = approval(call, file, { of: "plugins", otherwise: "skip" });
  const examined = async (pipeline: string, world: boolean): Promise<Checked> => {
    const options = { builtins, signal, approve, world };
    const { loaded, diagnostics, skipped } = await examinePipeline(pipeline, file, options);
    if (!loaded || !world) return { file, diagnostics, skipped };
    return { file, diagnostics, skipped, plan: await plannedRun(loaded), config: loaded.config };
  };
  if (!file.endsWith(".md")) return [await examined(text, world)];
  const checked: Checked[] = [];
  for (const fence of pipelineFences(text)) checked.push(await examined(fence, false));
  return checked;
}

/** The files that the arguments name; a folder means the pipelines in it. */
async function expand(patterns: string[], caller: Caller): Promise<string[]> {
  const files: string[] = [];
  for (const pattern of patterns) {
    await caller.within(fixedPart(pattern));
    const found = await stat(pattern).catch((error) => {
      if (["ENOENT", "ENOTDIR", "ENAMETOOLONG"].includes(error.code)) return null;
      throw error;
    });
    if (found?.isDirectory()) files.push(...await pipelinesBelow(pattern, caller));
    else if (found) files.push(pattern);
    else {
      const before = files.length;
      for await (const file of glob(pattern)) files.push(file);
      if (files.length === before) throw new HoneError(cli.no_such_files(pattern));
    }
  }
  return [...new Set(files)];
}

/** The part of a path or glob before its first wildcard; of a glob that may go up after it, all that it could name. */
function fixedPart(pattern: string): string {
  const [fixed = ""] = /^[^*?{}[\]!()]*/.exec(pattern)!;
  if (fixed === pattern) return pattern;
  if (pattern.slice(fixed.length).includes("..")) return "/";
  return fixed.slice(0, fixed.lastIndexOf("/") + 1) || ".";
}

/** The pipelines in a folder, and the YAML files that cannot be read. */
async function pipelinesBelow(folder: string, caller: Caller): Promise<string[]> {
  await access(folder, constants.R_OK);
  const files: string[] = [];
  for await (const file of glob(join(folder, "**/*.{yaml,yml}"))) {
    const path = await caller.within(file);
    if (!(await stat(path).catch(() => null))?.isFile()) continue;
    if (await textOf(path).then(isPipeline, () => true)) files.push(file);
  }
  if (files.length === 0) throw new HoneError(cli.no_pipelines_in(folder));
  return files;
}

/** YAML fences of a Markdown text that look like pipelines, padded with empty lines to keep their line numbers. */
export function pipelineFences(text: string): string[] {
  const lines = text.split(/\r?\n/);
  const fences: string[] = [];
  for (let i = 0; i < lines.length; i++) {
    const open = /^(\s*)(```+|~~~+)\s*ya?ml\b/.exec(lines[i]!);
    if (!open) continue;
    const end = lines.findIndex((line, j) => j > i && line.trim().startsWith(open[2]!));
    const body = lines.slice(i + 1, end < 0 ? undefined : end);
    if (isPipeline(body.join("\n"))) fences.push([...new Array(i + 1).fill(""), ...body].join("\n"));
    i = end < 0 ? lines.length : end;
  }
  return fences;
}

/** True for YAML with a name and stages at the top level, including invalid YAML that looks like it. */
function isPipeline(text: string): boolean {
  if (unparsable(text)) return false;
  const doc = parseDocument(text, { prettyErrors: false });
  if (doc.errors.length > 0) return /^stages:/m.test(text) && /^name:/m.test(text);
  return doc.has?.("stages") === true && doc.has("name");
}
