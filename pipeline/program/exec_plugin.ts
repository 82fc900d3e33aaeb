/**
 * A program in any language as a plugin, over JSON lines on its stdin and stdout (stderr is its log).
 *
 * hone asks `{"v":1,"id":0,"method":"hello"}`; the program answers `{"id":0,"result":{kind, name, summary, config?,
 * examples?, scale?, decisive?, observe?}}`, `config` being a JSON Schema. Then hone calls `create {config, stage,
 * base_dir}` and the role's own method (`discover`, `produce`, `observe`, `judge`, `shape`, `export`), any number of
 * times and possibly at once; the answer is `{"id":n,"result":…}` or `{"id":n,"error":{"message":…}}`. While it answers call `n`,
 * the program may use what the role was given: `{"call":"connect","of":n,"id":"a","params":[…]}`, answered by
 * `{"return":"a","result":…}` or `{"return":"a","error":{…}}`. End of stdin is the end of the program.
 * @module
 */
import { stat } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { z } from "zod";
import { HoneError, loader } from "../diagnostics/mod.ts";
import type { CallSpec, Catalog, Json, JsonObject, Scenario } from "../events.ts";
import { type Callbacks, Program } from "./program.ts";
import type { Context, Kind, Plugin, Roles, ServerSpec, Shaped, Verdictlet } from "../plugin.ts";

const HELLO_TIMEOUT_MS = 20_000;
const ROLES = ["discoverer", "scenario-source", "judge", "reward-shaper", "exporter"] as const;
type ExecKind = typeof ROLES[number];

const hello_schema = z.object({
  kind: z.string(),
  name: z.string(),
  summary: z.string(),
  config: z.record(z.string(), z.unknown()).default({ type: "object", properties: {}, additionalProperties: false }),
  examples: z.array(z.object({ title: z.string(), with: z.record(z.string(), z.json()) })).default([]),
  scale: z.enum(["absolute", "relative"]).default("absolute"),
  decisive: z.boolean().default(false),
  observe: z.boolean().default(false),
});
type Hello = z.output<typeof hello_schema>;

/** Starts the program behind `exec:path` once, for its handshake; throws HoneError where that fails. */
export async function loadProgram(use: string, base_dir: string, signal?: AbortSignal): Promise<Plugin> {
  const path = resolve(base_dir, use.slice("exec:".length));
  const found = await stat(path).catch(() => null);
  if (!found?.isFile()) throw new HoneError(loader.plugin_not_found(use, path));
  const command = commandOf(path, (found.mode & 0o111) !== 0);
  const hello = await greet(use, command, base_dir, signal);
  const kind = ROLES.find((role) => role === hello.kind);
  if (!kind) throw new HoneError(loader.exec_kind(use, hello.kind, [...ROLES]));
  return {
    kind,
    name: hello.name,
    summary: hello.summary,
    config: settings(use, hello),
    examples: hello.examples as Plugin["examples"],
    create: (context) => create(kind, hello, command, context),
  };
}

/** A file that may be run is run; others by the interpreter that their name asks for. */
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
    await using program = new Program(command, {
      cwd: base_dir,
      signal: AbortSignal.any([timeout, ...(signal ? [signal] : [])]),
    });
    const hello = hello_schema.safeParse(await program.call("hello", {}));
    if (hello.success) return hello.data;
    const wrong = hello.error.issues.map(({ path, message }) => `${path.join(".") || "hello"}: ${message}`);
    throw new Error(`its hello is not as wanted: ${wrong.join("; ")}`);
  } catch (error) {
    const cause = timeout.aborted ? `no hello within ${HELLO_TIMEOUT_MS / 1000} s` : (error as Error).message;
    throw new HoneError(loader.exec_failed(use, cause), { cause: error });
  }
}

function settings(use: string, hello: Hello): z.ZodType {
  try {
    return z.fromJSONSchema(hello.config as Parameters<typeof z.fromJSONSchema>[0]);
  } catch (error) {
    throw new HoneError(loader.exec_failed(use, `its config is no JSON Schema: ${(error as Error).message}`));
  }
}

async function create(
  kind: Kind,
  hello: Hello,
  command: string[],
  { config, stage, base_dir, log, signal }: Context<JsonObject>,
): Promise<Roles[Kind] & AsyncDisposable> {
  const program = new Program(command, { cwd: base_dir, signal, log: (line) => log.info(line) });
  try {
    await program.call("hello", {});
    await program.call("create", { config, stage, base_dir });
  } catch (error) {
    await program[Symbol.asyncDispose]();
    throw error;
  }
  const role = roles[kind as ExecKind](program, hello);
  return { ...role, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

/** How each role is played through the program. */
const roles: { [K in ExecKind]: (program: Program, hello: Hello) => Roles[K] } = {
  discoverer: (program) => ({
    discover: async (servers, connect) =>
      await program.call("discover", { servers }, {
        connect: (server) => connect(server as ServerSpec) as Promise<unknown>,
      }) as Catalog,
  }),
  "scenario-source": (program) => ({
    async *produce(catalog) {
      yield* await program.call("produce", { catalog }) as Scenario[];
    },
  }),
  judge: (program, { scale, decisive, observe }) => ({
    scale,
    decisive,
    ...(observe && {
      observe: async ({ id, workdir, tools, ...environment }, scenario) => {
        const callbacks: Callbacks = {
          call: (name, args) => environment.call(name as string, args as JsonObject),
          observe: (spec) => environment.observe(spec as CallSpec),
        };
        return await program.call("observe", { environment: { id, workdir, tools }, scenario }, callbacks) as Json;
      },
    }),
    judge: async (group, scenario) => await program.call("judge", { group, scenario }) as Verdictlet[],
  }),
  "reward-shaper": (program) => ({
    shape: async (trajectory, judgements) => await program.call("shape", { trajectory, judgements }) as Shaped,
  }),
  exporter: (program) => ({
    export: async ({ write_adapter, ...args }) =>
      await program.call("export", args, { write_adapter: (dir) => write_adapter(dir as string) }) as {
        dir: string;
        proof: JsonObject;
      },
  }),
};
