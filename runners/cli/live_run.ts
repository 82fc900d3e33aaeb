/**
 * A small run for tests of the verbs that reach one: real lock, store, bus and socket, in this process.
 * @module
 */
import { join } from "node:path";
import { Bus } from "../../pipeline/bus.ts";
import { lockRun, serveControl } from "../../pipeline/control.ts";
import type { EventMap } from "../../pipeline/events.ts";
import { Store } from "../../pipeline/store.ts";
import type { Verb } from "./verb.ts";

/** A run that lives until `end`. */
export interface LiveRun {
  run_dir: string;
  bus: Bus;
  /** Requests that reached the run, in order. */
  asked: string[];
  end(status: EventMap["run.ended"]["status"]): Promise<void>;
}

/** Starts a run in `runs_dir`; a request to pause or cancel ends it as the runner would. */
export async function liveRun(runs_dir: string, id: string): Promise<LiveRun> {
  const run_dir = join(runs_dir, id);
  await Deno.mkdir(run_dir, { recursive: true });
  const stack = new AsyncDisposableStack();
  stack.use(await lockRun(run_dir));
  const store = stack.use(await Store.open(join(run_dir, "run.duckdb"), { run_id: id, mode: "create" }));
  const bus = new Bus(id, store);
  const asked: string[] = [];
  const end = async (status: EventMap["run.ended"]["status"]) => {
    await bus.emit("runner", "run.ended", { status }).durable;
    await stack.disposeAsync();
  };
  const request = (what: string, status: EventMap["run.ended"]["status"]) => () => {
    asked.push(what);
    void end(status);
  };
  const status = () => ({ rung: "rl" });
  const [on_pause, on_cancel] = [request("pause", "paused"), request("cancel", "cancelled")];
  stack.use(await serveControl({ run_dir, store, bus, status, on_pause, on_cancel }));
  bus.emit("runner", "run.started", { name: "files", seed: 1, hone_version: "0.1.0", resumed: false });
  return { run_dir, bus, asked, end };
}

/** What a verb wrote, line by line, and its exit code. */
export async function runVerb(
  verb: Verb,
  { positional = [], args = {}, format = "text", signal, out }: {
    positional?: string[];
    args?: Record<string, unknown>;
    format?: string;
    signal?: AbortSignal;
    out?: (text: string) => void;
  },
): Promise<{ code: number; out: string[]; err: string[] }> {
  const said = { out: [] as string[], err: [] as string[] };
  const code = await verb.run({
    args: verb.args.parse(args),
    positional,
    out: (text) => {
      said.out.push(text);
      out?.(text);
    },
    err: (text) => void said.err.push(text),
    signal: signal ?? new AbortController().signal,
    format,
  });
  return { code, ...said };
}
