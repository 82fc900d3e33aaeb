/**
 * A program in any language as a plugin, over JSON lines on its stdin and stdout (stderr is its log).
 *
 * hone asks `{"v":1,"id":0,"method":"hello"}`; the program answers `{"id":0,"result":{kind, name, summary, config?,
 * examples?, scale?, decisive?, observe?, observe_before?, expects?, parts?}}`, `config` and `expects` being JSON
 * Schemas (`hello.ts`). Then hone calls `create {config, stage, base_dir}` and the role's own method (`discover`,
 * `produce`, `observe_before`, `observe`, `judge`, `shape`, `export`, `on`), any number of times and possibly concurrently; the answer is `{"id":n,"result":…}` or
 * `{"id":n,"error":{"message":…}}`. While it answers call `n`, the program may use what the role was given:
 * `{"call":"connect","of":n,"id":"a","params":[…]}`, answered by `{"return":"a","result":…}` or
 * `{"return":"a","error":{…}}`. A judge is given `call`, `observe` and `llm`; a scenario source `lease` (returns an id,
 * which `call`, `observe` and `release` take first), `trial`, `llm`, `world`, `progress` and `save`. End of stdin is the
 * end of the program.
 *
 * The program gets the same small environment as servers (`child_env.ts`); what else it needs, such as a key, is a
 * setting: `with: { key: "${API_KEY}" }`.
 * @module
 */
import { mkdir, mkdtemp, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { z } from "zod";
import { HoneError, loader } from "../diagnostics/mod.ts";
import { canonical } from "../common/json.ts";
import { misfit, schemaProblem, uncheckedPatterns } from "../common/schema_check.ts";
import type { Json, JsonObject } from "../events.ts";
import { KIND_NAMES, KINDS } from "../kinds.ts";
import type { Context, Kind, Plugin, Roles } from "../plugin.ts";
import { removeFolder } from "../common/open_folder.ts";
import { programEnv } from "./child_env.ts";
import { type Hello, hello_schema } from "./hello.ts";
import { Program, type ProgramOptions } from "./program.ts";

const HELLO_TIMEOUT_MS = 20_000;
const PLAYABLE = KIND_NAMES.filter((kind) => KINDS[kind].exec);

/** Starts the program behind `exec:path` once, for its handshake; throws HoneError where that fails. */
export async function loadProgram(use: string, base_dir: string, signal?: AbortSignal): Promise<Plugin> {
  const path = programPath(use, base_dir);
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) throw new HoneError(loader.plugin_not_found(use, path));
  const command = commandOf(path, (found.mode & 0o111) !== 0);
  const hello = await greet(use, command, base_dir, signal);
  const kind = PLAYABLE.find((one) => one === hello.kind);
  if (!kind) throw new HoneError(loader.exec_kind(use, hello.kind, PLAYABLE));
  return {
    kind,
    name: hello.name,
    summary: hello.summary,
    config: schemaOf(use, "config", hello.config as JsonObject),
    ...(hello.parts && { parts: hello.parts }),
    ...(hello.expects && { expects: { schema: schemaOf(use, "expects", hello.expects as JsonObject) } }),
    examples: hello.examples as Plugin["examples"],
    create: (context) => create(kind, hello, command, context),
  };
}

/** The file that `exec:path` names. */
export function programPath(use: string, base_dir: string): string {
  return resolve(base_dir, use.slice("exec:".length));
}

/** Executable files are run directly; others with the interpreter for their extension. */
function commandOf(path: string, executable: boolean): string[] {
  const interpreters: Record<string, string[]> = {
    ".py": ["python3", path],
    ".ts": [Deno.execPath(), "run", "-A", path],
    ".js": [Deno.execPath(), "run", "-A", path],
  };
  return executable ? [path] : interpreters[extname(path)] ?? [path];
}

async function greet(use: string, command: string[], base_dir: string, signal?: AbortSignal): Promise<Hello> {
  const timeout = AbortSignal.timeout(HELLO_TIMEOUT_MS);
  try {
    const signals = AbortSignal.any([timeout, ...(signal ? [signal] : [])]);
    await using started = await start(command, { cwd: base_dir, signal: signals });
    const hello = hello_schema.safeParse(await started.program.call("hello", {}));
    if (hello.success) return hello.data;
    const wrong = hello.error.issues.map(({ path, message }) => `${path.join(".") || "hello"}: ${message}`);
    throw new Error(`its hello is not as wanted: ${wrong.join("; ")}`);
  } catch (error) {
    const cause = timeout.aborted ? `no hello within ${HELLO_TIMEOUT_MS / 1000} s` : (error as Error).message;
    throw new HoneError(loader.exec_failed(use, cause), { cause: error });
  }
}

/** The schema for zod, whose patterns would be matched by RegExp: patterns are checked by `misfit`. */
function schemaOf(use: string, what: string, schema: JsonObject): z.ZodType {
  try {
    const unusable = schemaProblem(schema) ?? uncheckedPatterns(schema)[0];
    if (unusable) throw new Error(unusable);
    const plain = withoutPatterns(schema);
    const read = z.fromJSONSchema(plain as Parameters<typeof z.fromJSONSchema>[0]);
    if (canonical(plain) === canonical(schema)) return read;
    return read.superRefine((value, context) => {
      const message = misfit(schema, value as Json, { whole: "the value", unknown_field: "is not a field of it" });
      if (message) context.addIssue({ code: "custom", message });
    });
  } catch (error) {
    throw new HoneError(loader.exec_failed(use, `its ${what} is no JSON Schema: ${(error as Error).message}`));
  }
}

/** The schema without `pattern` and `patternProperties`; where there are the latter, with any other field. */
function withoutPatterns(schema: Json, in_map = false): Json {
  if (Array.isArray(schema)) return schema.map((one) => withoutPatterns(one));
  if (typeof schema !== "object" || schema === null) return schema;
  const { patternProperties, ...rest } = schema;
  const open = !in_map && patternProperties !== undefined;
  const kept = Object.entries(open ? rest : schema).filter(([key, value]) =>
    in_map || !(key === "pattern" && typeof value === "string") && !(open && key === "additionalProperties")
  );
  const inner = (key: string, value: Json) =>
    ["enum", "const", "default", "examples"].includes(key) ? value : withoutPatterns(value, key === "properties");
  return Object.fromEntries(kept.map(([key, value]) => [key, in_map ? withoutPatterns(value) : inner(key, value)]));
}

async function create(
  kind: Kind,
  hello: Hello,
  command: string[],
  { config, stage, base_dir, log, signal }: Context<JsonObject>,
): Promise<Roles[Kind] & AsyncDisposable> {
  const started = await start(command, { cwd: base_dir, signal, log: (line) => log.info(line) });
  const { program } = started;
  try {
    await program.call("hello", {});
    await program.call("create", { config, stage, base_dir });
  } catch (error) {
    await started[Symbol.asyncDispose]();
    throw error;
  }
  const role: Roles[Kind] = KINDS[kind].exec!(program, hello);
  return { ...role, [Symbol.asyncDispose]: () => started[Symbol.asyncDispose]() };
}

/** Starts the program, with a HOME and TMPDIR that are removed after it. */
async function start(
  command: string[],
  options: Omit<ProgramOptions, "env">,
): Promise<AsyncDisposable & { program: Program }> {
  const folder = await mkdtemp(join(tmpdir(), "hone-exec-"));
  const dirs = { home: join(folder, "home"), tmp: join(folder, "tmp") };
  await Promise.all(Object.values(dirs).map((dir) => mkdir(dir)));
  const program = new Program(command, { ...options, env: programEnv(dirs) });
  return {
    program,
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      await removeFolder(folder);
    },
  };
}
