/**
 * What a turn costs the orchestrator: CPU of this process alone, with a scripted endpoint in another process and
 * everything recorded in DuckDB; how long calls take; and what is left when it is over. Prints one JSON object.
 * Run: deno run -A tests/bench/turn_cost.ts [--rollouts 512] [--at-once 256] [--tool in-process|stdio|http|http-sse]
 *      [--tool-ms 0] [--latency-ms 0] [--repeat 1]
 * @module
 */
import { getEventListeners } from "node:events";
import { readFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Judged } from "../../pipeline/run/context.ts";
import { open, started, TURNS, type Where } from "./turn_run.ts";

const { values } = parseArgs({
  options: {
    rollouts: { type: "string", default: "512" },
    "at-once": { type: "string", default: "256" },
    tool: { type: "string", default: "in-process" },
    "tool-ms": { type: "string", default: "0" },
    "latency-ms": { type: "string", default: "0" },
    repeat: { type: "string", default: "1" },
  },
});
const [rollouts, at_once, repeat] = [values.rollouts, values["at-once"], values.repeat].map(Number) as [
  number,
  number,
  number,
];
const where = values.tool as Where;

/** One pass: its CPU and its calls. */
async function pass(run: () => Promise<Judged[]>, flush: () => Promise<void>) {
  const before = process.cpuUsage();
  const began = performance.now();
  const judged = await run();
  await flush();
  const { user, system } = process.cpuUsage(before);
  const turns = judged.reduce((sum, { trajectory }) => sum + trajectory.turns.length, 0);
  const calls = judged.flatMap(({ trajectory }) => trajectory.tool_calls.map(({ seconds }) => seconds * 1000));
  calls.sort((a, b) => a - b);
  const at = (share: number) => calls[Math.min(calls.length - 1, Math.floor(calls.length * share))] ?? 0;
  return {
    turns,
    unanswered: endings(judged),
    cpu_ms_per_turn: round((user + system) / 1000 / turns, 3),
    turns_per_second: Math.round(turns / (performance.now() - began) * 1000),
    call_p50_ms: round(at(0.5), 2),
    call_p99_ms: round(at(0.99), 2),
    p99_to_p50: round(at(0.99) / at(0.5), 2),
  };
}

/** Rollouts that did not come to their answer, by cause; a bench of failures measures nothing. */
function endings(judged: Judged[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { trajectory: { outcome, turns } } of judged) {
    if (outcome.end === "answered" && turns.length === TURNS) continue;
    const cause = `${outcome.end}: ${outcome.cause ?? `${turns.length} turns`}`;
    counts[cause] = (counts[cause] ?? 0) + 1;
  }
  return counts;
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Peak resident memory of this process, where the system tells. */
function peakMb(): number {
  try {
    return Math.round(Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) / 1024);
  } catch {
    return Math.round(process.memoryUsage().rss / 2 ** 20);
  }
}

async function measured() {
  await using endpoint = await started("./turn_endpoint.ts", String(TURNS), values["latency-ms"]);
  await using server = where.startsWith("http") ? await started("./turn_server.ts", where) : null;
  const parts = { where, endpoint: endpoint.port, server: server?.port, at_once, tool_ms: Number(values["tool-ms"]) };
  await using opened = await open(parts);
  await opened.run("warm", Math.min(64, at_once));
  const passes = [];
  for (let i = 0; i < repeat; i++) passes.push(await pass(() => opened.run(`timed${i}`, rollouts), opened.flush));
  passes.sort((a, b) => a.cpu_ms_per_turn - b.cpu_ms_per_turn);
  const best_ratio = Math.min(...passes.map(({ p99_to_p50 }) => p99_to_p50));
  const listeners = getEventListeners(opened.signal, "abort").length;
  return { result: { ...passes[0]!, p99_to_p50: best_ratio }, signal: opened.signal, listeners };
}

const { result, signal, listeners } = await measured();
const left = {
  timers: process.getActiveResourcesInfo().filter((name) => name === "Timeout").length,
  listeners_before_close: listeners,
  listeners: getEventListeners(signal, "abort").length,
};
console.log(JSON.stringify({ tool: where, rollouts, at_once, ...result, peak_rss_mb: peakMb(), left }));
