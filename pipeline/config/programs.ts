/**
 * What a pipeline starts or loads on this machine: the commands of its servers, plugins that are not built in, and
 * programs that a built-in plugin's settings name. Found by reading files; nothing is started or loaded.
 * @module
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { isSecretName } from "../common/redact.ts";
import { visibleWord } from "../common/visible.ts";
import { type Builtins, pluginSource } from "../loader.ts";
import type { z } from "zod";
import { jsonSchema } from "./issues.ts";
import type { PipelineConfig, ServerConfig } from "./pipeline_schema.ts";
import { asWritten } from "./resolved_yaml.ts";
import { valueAt } from "./source.ts";

/** Something that a pipeline starts or loads. */
export interface Program {
  /** For a plugin: the `use:` that names it. */
  plugin?: string;
  /** True for a program that a judge starts. */
  judges?: true;
  /** A line that says what it is, and lines of details: literal secrets redacted, no character hidden. */
  shown: string[];
  /** Changes with everything that decides what is run: command, arguments, environment, contents of code files. */
  digest: string;
}

/** A command as the pipeline's schema gives it. */
type CommandServer = Extract<ServerConfig, { command: string }>;

/**
 * What a pipeline starts or loads: of one that the schema rejects (no `config`), only what its stages name. `text` holds
 * the servers as written, `${NAME}` unexpanded, and the stages.
 */
export async function programsOf(
  config: PipelineConfig | undefined,
  text: { servers: unknown; stages: unknown },
  { base_dir, builtins }: { base_dir: string; builtins: Builtins },
): Promise<Program[]> {
  const stages = Array.isArray(text.stages) ? text.stages : [];
  const uses = new Set(stages.map((stage) => valueAt(stage, ["use"])).filter((use) => typeof use === "string"));
  const plugins = await Promise.all([...uses].map((use) => pluginProgram(use, base_dir)));
  const replays = config?.tape.mode === "replay" && config.tape.on_miss === "fail";
  return [
    ...(config && !replays ? serverPrograms(config.servers, text.servers, base_dir) : []),
    ...await settingPrograms(stages, builtins, base_dir),
    ...plugins.filter((plugin) => plugin !== undefined),
  ];
}

/** The commands of these servers. `written` is what the file says, `${NAME}` unexpanded: that is shown. */
export function serverPrograms(
  servers: Record<string, ServerConfig>,
  written: unknown,
  base_dir: string,
): Program[] {
  return Object.entries(servers).flatMap(([name, server]) => {
    if (!("command" in server)) return [];
    const { command, args, env, cwd, fixture, isolation, container } = server;
    const facts = { command, args, env, cwd, fixture, isolation, container };
    const shown = serverLines(name, asWritten(server, valueAt(written, [name])));
    return [{ shown, digest: digestOf(base_dir, [name, facts]) }];
  });
}

function serverLines(name: string, server: CommandServer): string[] {
  const { command, args, env, cwd, fixture, container } = server;
  const variables = Object.entries(env).map(([key, value]) => `${visibleWord(key)}=${shownValue(key, value)}`);
  return [
    `${visibleWord(name)}: ${words([command, ...args])}`,
    ...(variables.length > 0 ? [`env: ${variables.join(" ")}`] : []),
    ...(cwd === undefined ? [] : [`cwd: ${visibleWord(cwd)}`]),
    ...(fixture === undefined ? [] : [`fixture: ${visibleWord(fixture)}`]),
    ...(container === undefined ? [] : containerLines(container)),
  ];
}

/** Only literal values are redacted: `${NAME}` shows nothing secret. */
function shownValue(key: string, value: string): string {
  if (isSecretName(key) && !value.includes("${")) return "[redacted]";
  return visibleWord(value.replace(/(:\/\/[^\s:@/]*:)[^\s@/]+@/g, "$1[redacted]@"));
}

function containerLines(container: NonNullable<CommandServer["container"]>): string[] {
  const { image, engine, network, mounts, args, capabilities, new_privileges } = container;
  return [
    `container: ${visibleWord(image)}, ${engine ?? "docker or podman"}, network ${visibleWord(network)}`,
    ...(mounts.length > 0 ? [`mounts: ${words(mounts)}`] : []),
    ...(capabilities.length > 0 ? [`capabilities: ${words(capabilities)}`] : []),
    ...(new_privileges ? ["new_privileges: true"] : []),
    ...(args.length > 0 ? [`arguments of run: ${words(args)}`] : []),
  ];
}

/** The plugin that `use` names; undefined for a built-in, and for one that cannot be loaded anyway. */
export async function pluginProgram(use: string, base_dir: string): Promise<Program | undefined> {
  const source = pluginSource(use, base_dir);
  if (source.from === "npm") {
    return { plugin: use, shown: [`plugin: ${visibleWord(use)}`], digest: digestOf(base_dir, [use]) };
  }
  if (!("path" in source)) return undefined;
  const [own, ...imported] = await codeFiles(source.path);
  if (!own) return undefined;
  const lines = [
    `plugin: ${visibleWord(use)} (sha256 ${own.sha256})`,
    ...imported.map(({ path, sha256 }) => `with ${visibleWord(relative(base_dir, path))} (sha256 ${sha256})`),
  ];
  return { plugin: use, shown: lines, digest: digestOf(base_dir, [use, own, ...imported]) };
}

/**
 * Programs that the settings of built-in plugins name: fields marked with `.meta({ program: true })`, a path or a
 * command. What a command runs may be in a file that it names: those belong to it.
 */
async function settingPrograms(stages: unknown[], builtins: Builtins, base_dir: string): Promise<Program[]> {
  const found: Program[] = [];
  for (const stage of stages) {
    const [use, given] = [valueAt(stage, ["use"]), valueAt(stage, ["with"])];
    if (typeof use !== "string" || !Object.hasOwn(builtins, use) || typeof given !== "object") continue;
    const { config } = (await builtins[use]!()).default;
    const by = use.startsWith("judge/") ? { judges: true as const } : {};
    for (const [key, value] of programFields(config, given)) {
      if (typeof value === "string") {
        const shown = [`${use}: ${visibleWord(value)} (its ${key})`];
        found.push({ ...by, shown, digest: digestOf(base_dir, [use, key, value]) });
        continue;
      }
      const files = await filesOfCommand(value, base_dir);
      const lines = files.map(({ path, sha256 }) => `with ${visibleWord(relative(base_dir, path))} (sha256 ${sha256})`);
      const shown = [`${use}: ${words(value)} (its ${key})`, ...lines];
      found.push({ ...by, shown, digest: digestOf(base_dir, [use, key, value, files]) });
    }
  }
  return found;
}

/** The settings that name a program, by their path, each with its value: a path, or the words of a command. */
export function programFields(config: z.ZodType, given: unknown): [key: string, value: string | string[]][] {
  return fieldsOf(jsonSchema(config), given, "");
}

interface SettingSchema {
  program?: boolean;
  properties?: Record<string, SettingSchema>;
}

function fieldsOf(schema: SettingSchema, given: unknown, at: string): [string, string | string[]][] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]): [string, string | string[]][] => {
    const value = valueAt(given, [name]);
    if (field.program !== true) return fieldsOf(field, value, `${at}${name}.`);
    return typeof value === "string" || isWords(value) ? [[at + name, value]] : [];
  });
}

function isWords(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((word) => typeof word === "string");
}

/** The files that a command names, and the local code that those name, below the folder of the pipeline or not. */
export async function filesOfCommand(command: readonly string[], base_dir: string): Promise<CodeFile[]> {
  return (await Promise.all(command.map((word) => codeFiles(resolve(base_dir, word))))).flat();
}

/** A file of code, known by its contents. */
export interface CodeFile {
  path: string;
  sha256: string;
}

const MODULE = /\.[mc]?[jt]sx?$/;
const MAX_MODULE_BYTES = 2_000_000;
/** Paths of local code in the text of a module: what it imports, and programs and workers that it may start. */
const LOCAL = /["'`]((?:\.{0,2}\/|file:\/\/\/)[^"'`\n]*\.(?:[mc]?[jt]sx?|wasm|py|sh))["'`]/g;

/** The file and, for a module, the local code that its text names, directly or not; empty if there is no file. */
async function codeFiles(entry: string): Promise<CodeFile[]> {
  const found = new Map<string, CodeFile>();
  const waiting = [entry];
  for (const path of waiting) {
    const info = found.has(path) ? null : await stat(path).catch(() => null);
    if (!info?.isFile()) continue;
    found.set(path, { path, sha256: await hashOf(path) });
    if (!MODULE.test(path) || info.size > MAX_MODULE_BYTES) continue;
    for (const [, named = ""] of (await readFile(path, "utf8")).matchAll(LOCAL)) {
      waiting.push(resolve(dirname(path), named.replace(/^file:\/\//, "")));
    }
  }
  return [...found.values()];
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

function digestOf(base_dir: string, facts: unknown): string {
  return createHash("sha256").update(JSON.stringify([base_dir, facts])).digest("hex");
}

function words(all: string[]): string {
  return all.map(visibleWord).join(" ");
}
