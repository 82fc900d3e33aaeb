/**
 * Many rollouts through hone's own bindings, pool and store, against a scripted endpoint in another process, with the
 * tool in this process or on an MCP server: what benches of turns share.
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Bus } from "../../pipeline/bus.ts";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import type { Catalog, Scenario, ToolSpec } from "../../pipeline/events.ts";
import { EnvironmentPool, type Environments } from "../../pipeline/mcp/pool/pool.ts";
import type { Agent, Environment, Policy, Roles } from "../../pipeline/plugin.ts";
import { bindAll, ONLINE } from "../../pipeline/run/bindings.ts";
import type { Judged, Run, RunRoles } from "../../pipeline/run/context.ts";
import { Progress } from "../../pipeline/run/progress/progress.ts";
import { Store } from "../../pipeline/store/store.ts";
import { fakeContext } from "../../pipeline/testing.ts";
import chat from "../../plugins/rollout/chat.ts";

/** Where the tool `echo` runs. */
export type Where = "in-process" | "stdio" | "http" | "http-sse";

/** Turns of a rollout: all but the last call the tool. */
export const TURNS = 8;

/** What is opened for a bench; disposing it closes everything and removes the folder. */
export interface Opened extends AsyncDisposable {
  run(group_id: string, rollouts: number): Promise<Judged[]>;
  flush(): Promise<void>;
  /** The run's signal, on which nothing may be left listening. */
  signal: AbortSignal;
}

/** A program of this folder in a process of its own; `port` is what it prints first. */
export async function started(file: string, ...args: string[]): Promise<AsyncDisposable & { port: number }> {
  const child = new Deno.Command(Deno.execPath(), { args: ["run", "-A", path(file), ...args], stdout: "piped" })
    .spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const port = Number((await reader.read()).value);
  return {
    port,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.status;
      await reader.cancel();
    },
  };
}

function path(file: string): string {
  return new URL(file, import.meta.url).pathname;
}

const echo: ToolSpec = {
  server: "local",
  name: "echo",
  model_name: "echo",
  description: "Says it again.",
  input_schema: { type: "object", properties: { message: { type: "string" } } },
  annotations: {},
  tokens: 20,
};

/** A pool whose one tool runs here and answers after `tool_ms`. */
function inProcess(tool_ms: number): Environments {
  const environment: Environment = {
    id: "e",
    workdir: null,
    tools: [echo],
    call: async (_name, args) => {
      const began = performance.now();
      if (tool_ms > 0) await new Promise((resolve) => setTimeout(resolve, tool_ms));
      const seconds = (performance.now() - began) / 1000;
      return { outcome: "ok", text: String(args.message), result: { content: [] }, seconds };
    },
    observe: () => Promise.resolve({ outcome: "ok", text: "", result: null, seconds: 0 }),
  };
  const lease = () => Promise.resolve({ ...environment, release: () => Promise.resolve() });
  return { lease } as unknown as Environments;
}

/** Opens store, bus and pool; `endpoint` and `server` are ports of what runs beside. */
export async function open(
  { where, endpoint, server, at_once, tool_ms = 0 }: {
    where: Where;
    endpoint: number;
    server?: number;
    at_once: number;
    tool_ms?: number;
  },
): Promise<Opened> {
  const dir = await mkdtemp(join(tmpdir(), "hone-turns-"));
  const stop = new AbortController();
  const { signal } = stop;
  const local = where === "stdio"
    ? { command: Deno.execPath(), args: ["run", "-A", path("./turn_server.ts"), "stdio"], isolation: "shared" }
    : { url: `http://127.0.0.1:${server}/mcp` };
  const config = pipeline_schema.parse({
    name: "bench",
    stages: [{ use: "rollout/chat" }],
    agent: { max_turns: TURNS },
    train: { concurrency: at_once, group_timeout_secs: 600 },
    servers: where === "in-process" ? {} : { local: { ...local, allow_writes: true } },
  });
  const quiet = () => {};
  const log = { debug: quiet, info: quiet, warn: (message: string) => console.error(message) };
  const store = await Store.open(join(dir, "run.duckdb"), { run_id: "bench", mode: "create" });
  const options = { run_dir: dir, base_dir: dir, allow_writes: true, log, signal };
  const pool = where === "in-process" ? null : new EnvironmentPool({ servers: config.servers, ...options });
  const catalog: Catalog = pool ? await pool.discover("local") : { servers: [], tools: [echo], schema_hash: "" };
  const bus = new Bus("bench", store, {
    signal,
    on_error: (error) => {
      console.error(error);
      Deno.exit(1);
    },
  });
  const environments = pool ?? inProcess(tool_ms);
  const run = runOf({ config, bus, store, environments, catalog, signal, log }, await rolesOf(), endpoint);
  const rewarded = new Map<string, (judged: Judged[]) => void>();
  bus.subscribe("group.rewarded", { stage: "bench" }, ({ data: { group_id } }) => {
    rewarded.get(group_id)!(run.groups.get(group_id)!.judged!);
    run.groups.delete(group_id);
  });
  const middle = ["rollout", "judge", "reward-shaper"];
  await bindAll(run, ONLINE.filter(({ name }) => middle.includes(name)));
  return {
    signal,
    flush: () => store.flush(),
    async run(group_id, size) {
      const done = new Promise<Judged[]>((resolve) => rewarded.set(group_id, resolve));
      await bus.publish("bench", "group.requested", { ...group, group_id, size });
      return await done;
    },
    async [Symbol.asyncDispose]() {
      await pool?.[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
      await rm(dir, { recursive: true });
    },
  };
}

async function rolesOf(): Promise<Partial<RunRoles>> {
  return {
    rollout: { id: "chat", use: "rollout/chat", role: await chat.create(fakeContext(chat.config.parse({}))) },
    judges: [{ id: "always", use: "always", role: always, part: null, timeout_secs: 60 }],
    shaper: { id: "one", use: "one", role: { shape: () => ({ value: 1, parts: {} }) } },
  };
}

/** As much of a run as the bindings in the middle of the flow use. */
function runOf(
  open: Pick<Run, "config" | "bus" | "store" | "environments" | "catalog" | "signal" | "log">,
  roles: Partial<RunRoles>,
  endpoint: number,
): Run {
  return {
    ...open,
    roles,
    tape: null,
    llm: () => ({ ask: () => Promise.reject(new Error("no language model here")) }),
    agent: { ...open.config.agent, examples: [] } satisfies Agent,
    scenarios: [scenario],
    policies: new Map([["base", policyAt(endpoint)]]),
    groups: new Map(),
    progress: new Progress(),
    spent: { rollouts: 0, tokens: 0, seconds: 0 },
    resumed: false,
  } as unknown as Run;
}

const always: Roles["judge"] = {
  scale: "absolute",
  decisive: true,
  judge: ({ group }) => group.map(() => ({ score: 1, reason: "ok" })),
};

const group = {
  scenario_id: "s",
  purpose: "train",
  split: "train",
  policy: "base",
  policy_version: 0,
  temperature: 1,
  step: 0,
  index: 0,
} as const;

const scenario: Scenario = { id: "s", task: "Talk.", split: "train", tags: [], checks: [] };

function policyAt(port: number): Policy {
  return {
    name: "base",
    version: 0,
    base_url: `http://127.0.0.1:${port}/v1`,
    model: "scripted",
    tokens: "exact",
    rollout_handles: true,
    tool_format: "json",
    context_tokens: 4096,
    sampling: { temperature: 1, top_p: 1, max_tokens: 64 },
  };
}
