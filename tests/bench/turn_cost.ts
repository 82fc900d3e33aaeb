/**
 * What a turn costs the orchestrator: CPU of this process alone, with a scripted endpoint in another process, a tool in
 * process, and everything recorded in DuckDB. Prints CPU milliseconds per turn and peak memory.
 * Run: deno run -A tests/bench/turn_cost.ts [rollouts] [at once]
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { Bus } from "../../pipeline/bus.ts";
import { pipeline_schema } from "../../pipeline/config_schema.ts";
import type { Catalog, Scenario, ToolSpec } from "../../pipeline/events.ts";
import type { Agent, Environment, Policy } from "../../pipeline/plugin.ts";
import type { RunContext } from "../../pipeline/runner/context.ts";
import { runGroup } from "../../pipeline/runner/episodes.ts";
import { Progress } from "../../pipeline/runner/progress.ts";
import { Semaphore } from "../../pipeline/runner/semaphore.ts";
import { Store } from "../../pipeline/store.ts";
import { fakeContext } from "../../pipeline/testing.ts";
import chat from "../../plugins/rollout/chat.ts";

const TURNS = 8;
const [rollouts = 512, at_once = 256] = Deno.args.map(Number);

const tool: ToolSpec = {
  server: "local",
  name: "echo",
  model_name: "echo",
  description: "Says it again.",
  input_schema: { type: "object", properties: { message: { type: "string" } } },
  annotations: {},
  tokens: 20,
};
const environment: Environment = {
  id: "e",
  workdir: null,
  tools: [tool],
  call: (_name, args) =>
    Promise.resolve({ outcome: "ok", text: String(args.message), result: { content: [] }, seconds: 0 }),
  observe: () => Promise.resolve({ outcome: "ok", text: "", result: null, seconds: 0 }),
};

const endpoint = new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", new URL("./turn_endpoint.ts", import.meta.url).pathname, String(TURNS)],
  stdout: "piped",
}).spawn();
const reader = endpoint.stdout.pipeThrough(new TextDecoderStream()).getReader();
const port = Number((await reader.read()).value);

const policy: Policy = {
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

const dir = await mkdtemp(join(tmpdir(), "hone-turns-"));
const config = pipeline_schema.parse({ name: "bench", stages: [{ use: "rollout/chat" }], agent: { max_turns: TURNS } });
const agent: Agent = { ...config.agent, examples: [] };
const signal = new AbortController().signal;
const role = await chat.create(fakeContext(chat.config.parse({})));
const store = await Store.open(join(dir, "run.duckdb"), { run_id: "bench", mode: "create" });
const quiet = () => {};
const ctx = {
  config,
  roles: {
    rollout: { id: "chat", role },
    judges: [{
      id: "always",
      role: { scale: "absolute", decisive: true, judge: (g: unknown[]) => g.map(() => ({ score: 1, reason: "ok" })) },
    }],
    shaper: { id: "one", role: { shape: () => ({ value: 1, parts: {} }) } },
    sources: [],
    exporters: [],
  },
  bus: new Bus("bench", store),
  store,
  pool: { lease: () => Promise.resolve({ ...environment, release: () => Promise.resolve() }) },
  catalog: { servers: [], tools: [tool], schema_hash: "" } as Catalog,
  slots: new Semaphore(at_once),
  signal,
  progress: new Progress(),
  spent: { rollouts: 0, tokens: 0, seconds: 0 },
  log: { debug: quiet, info: quiet, warn: quiet },
} as unknown as RunContext;

const scenario: Scenario = { id: "s", task: "Talk.", split: "train", tags: [], checks: [] };
const run = (group_id: string, size: number) =>
  runGroup(ctx, {
    group_id,
    scenario,
    policy,
    agent,
    purpose: "train",
    split: "train",
    step: 0,
    size,
    attempt: 1,
    timeout_secs: 600,
  });

await run("warm", Math.min(64, at_once));
const before = process.cpuUsage();
const began = performance.now();
const judged = await run("timed", rollouts);
await store.flush();
const { user, system } = process.cpuUsage(before);
const turns = judged.reduce((sum, { trajectory }) => sum + trajectory.turns.length, 0);
const seconds = (performance.now() - began) / 1000;
console.log(JSON.stringify({
  rollouts,
  at_once,
  turns,
  cpu_ms_per_turn: Number(((user + system) / 1000 / turns).toFixed(3)),
  turns_per_second: Number((turns / seconds).toFixed(0)),
  rss_mb: Math.round(process.memoryUsage().rss / 2 ** 20),
}));
await store[Symbol.asyncDispose]();
endpoint.kill();
await endpoint.status;
await rm(dir, { recursive: true });
