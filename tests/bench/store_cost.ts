/**
 * What recording costs. Wanted: 100 000 events a second ordered, and the whole recording of a turn of 100 tokens (bus,
 * checks, rows, its share of the group commit) well below 0.3 ms of this process's time. Run as a program:
 * `deno run -A tests/bench/store_cost.ts`; it prints one JSON object per figure.
 * @module
 */
import process from "node:process";
import { join } from "node:path";
import { Bus } from "../../pipeline/bus.ts";
import { Store } from "../../pipeline/store/store.ts";
import { trajectories } from "../../pipeline/store/recorded.ts";
import { sampleRef, sampleTurn } from "./samples.ts";

const EVENTS = 100_000;
const ROLLOUTS = 500;
const TURNS = 4;
const PROMPT = 400;
const OUTPUT = 100;

/** Seconds on the clock, and seconds that the event loop's thread and DuckDB's threads computed. */
async function timed(work: () => Promise<unknown>): Promise<{ secs: number; cpu_secs: number }> {
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  await work();
  const { user, system } = process.cpuUsage(cpu);
  return { secs: (performance.now() - began) / 1000, cpu_secs: (user + system) / 1e6 };
}

function report(name: string, figures: Record<string, number>): void {
  const rounded = Object.entries(figures).map(([key, value]) => [key, Number(value.toPrecision(4))]);
  console.log(JSON.stringify({ name, ...Object.fromEntries(rounded) }));
}

/** Emits many small events without a pause. */
async function smallEvents(bus: Bus, store: Store): Promise<void> {
  let emitted = 0;
  const { secs, cpu_secs } = await timed(async () => {
    const began = performance.now();
    for (let step = 0; step < EVENTS; step++) {
      bus.publish("bench", "metric.recorded", { name: "loss", value: step, step });
    }
    emitted = (performance.now() - began) / 1000;
    await store.flush();
  });
  report("metric.recorded", {
    events: EVENTS,
    ordered_per_sec: EVENTS / emitted,
    committed_per_sec: EVENTS / secs,
    cpu_us_per_event: cpu_secs / EVENTS * 1e6,
  });
}

/** Records rollouts side by side, at the pace of their commits. */
async function turns(bus: Bus, store: Store): Promise<string[]> {
  const ids = Array.from({ length: ROLLOUTS }, (_, i) => `bench-${i}`);
  let in_emit = 0;
  const { secs, cpu_secs } = await timed(async () => {
    for (const rollout_id of ids) await bus.publish("bench", "rollout.requested", sampleRef(rollout_id));
    for (let index = 0; index < TURNS; index++) {
      const turn = sampleTurn(index, PROMPT + index * (OUTPUT + 50), OUTPUT);
      for (let from = 0; from < ids.length; from += 48) {
        const began = performance.now();
        const kept = ids.slice(from, from + 48).map((rollout_id) =>
          bus.publish("bench", "turn.completed", { rollout_id, turn })
        );
        in_emit += performance.now() - began;
        await Promise.all(kept);
      }
    }
    for (const rollout_id of ids) {
      const outcome = { end: "answered" as const, answer: "done" };
      bus.publish("bench", "rollout.completed", { ...sampleRef(rollout_id), outcome, seconds: 3 });
    }
    await store.flush();
  });
  const count = ROLLOUTS * TURNS;
  report("turn.completed", {
    turns: count,
    in_emit_ms_per_turn: in_emit / count,
    cpu_ms_per_turn: cpu_secs / count * 1000,
    wall_ms_per_turn: secs / count * 1000,
  });
  return ids;
}

async function readBack(store: Store, ids: string[]): Promise<void> {
  const { secs } = await timed(async () => {
    const read = await trajectories(store, ids);
    if (read.length !== ids.length) throw new Error(`read ${read.length} of ${ids.length} trajectories`);
  });
  report("trajectories", { rollouts: ids.length, ms_per_rollout: secs / ids.length * 1000 });
}

if (import.meta.main) {
  const dir = await Deno.makeTempDir();
  try {
    await using store = await Store.open(join(dir, "run.duckdb"), { run_id: "bench", mode: "create" });
    const bus = new Bus("bench", store);
    await smallEvents(bus, store);
    await readBack(store, await turns(bus, store));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
