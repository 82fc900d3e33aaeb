/**
 * What every rung of a run shares: roles, bus, store, pool, limits, progress. Made once by `online.ts`;
 * rungs read it and never change it but for what `online.ts` fills in as it learns it (`catalog`, `scenarios`, `trainer`,
 * `context_tokens`).
 * @module
 */
import type { Bus } from "../bus.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import type { Catalog, EventMap, EventName, Scenario } from "../events.ts";
import type { Environments } from "../mcp/pool/pool.ts";
import type { Agent, Log, OnlineTrainer, Roles } from "../plugin.ts";
import type { Store } from "../store/store.ts";
import type { Tape } from "../tape/mod.ts";
import type { Progress } from "./progress/progress.ts";
import type { Semaphore } from "../common/semaphore.ts";

/** A role with the id of the stage that plays it. */
export interface Staged<R> {
  id: string;
  role: R;
}

/** The roles of a run by kind. */
export interface RunRoles {
  discoverer?: Staged<Roles["discoverer"]>;
  sources: Staged<Roles["scenario-source"]>[];
  rollout: Staged<Roles["rollout"]>;
  judges: Staged<Roles["judge"]>[];
  shaper: Staged<Roles["reward-shaper"]>;
  trainer?: Staged<Roles["trainer"]>;
  exporters: Staged<Roles["exporter"]>[];
}

/** State of one run, shared by its rungs. */
export interface RunContext {
  config: PipelineConfig;
  run_id: string;
  run_dir: string;
  base_dir: string;
  roles: RunRoles;
  bus: Bus;
  store: Store;
  /** The pool, or the tape in its place. */
  pool: Environments;
  /** What is recorded or replayed, if anything is. */
  tape: Tape | null;
  agent: Agent;
  catalog: Catalog;
  scenarios: Scenario[];
  trainer: OnlineTrainer | null;
  /** Longest context of `agent.endpoint` in tokens, where the pipeline does not say it; 0 where unknown. */
  context_tokens: number;
  /** Bounds the rollouts in flight, whatever group they belong to. */
  slots: Semaphore;
  signal: AbortSignal;
  progress: Progress;
  log: Log;
  /** True where the run folder held records of an earlier attempt. */
  resumed: boolean;
  /** True where a resumed run may go on with servers that have changed. */
  accept_changes: boolean;
  /** What the run has used so far, earlier attempts included; checked against `limits`. */
  spent: { rollouts: number; tokens: number; seconds: number };
  /** Milliseconds since the epoch at which `limits.wall_clock_secs` ends, earlier starts counted; or Infinity. */
  deadline: number;
}

/** Emits an event and waits until it is ordered (and on disk, where its noun is durable). */
export async function emit<K extends EventName>(ctx: RunContext, source: string, type: K, data: EventMap[K]) {
  const emitted = ctx.bus.emit(source, type, data);
  await emitted.ordered;
  await emitted.durable;
}
