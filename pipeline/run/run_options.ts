/** What a run is started with, and how it ended. @module */
import type { Catalog, Envelope, EventMap } from "../events.ts";
import type { Verdict } from "../verdict/mod.ts";
import type { Measured } from "./context.ts";
import type { ProgressSnapshot } from "./progress/progress.ts";

/** Options for starting a run. */
export interface RunOptions {
  /** Absolute folder of the run; created if missing. */
  run_dir: string;
  signal: AbortSignal;
  /** Continue the run in the folder. */
  resume?: boolean;
  /** With `resume`: continue although the servers' tools have changed since the run started. */
  accept_changes?: boolean;
  /** The catalog that the evaluated policy was trained with; differences are recorded and noted in the verdict. */
  trained_with?: Catalog;
  /** Evaluate these policies, or this one, instead of running the ladder. */
  measure?: Measured | Measured[];
  /** Time that plugins have to end once the run is stopped, in seconds; one that does not is abandoned. Default: 30. */
  grace_secs?: number;
  on_event?: (event: Envelope) => void;
  /** Called at each new unit of work and message; `read` returns the current progress. */
  on_progress?: (read: () => ProgressSnapshot) => void;
  on_log?: (level: "debug" | "info" | "warn", message: string) => void;
}

/** How a run ended. */
export interface RunResult {
  status: EventMap["run.ended"]["status"];
  run_dir: string;
  /** False if a new run failed before its first rollout finished: its folder was deleted. */
  kept: boolean;
  /** Set once the ladder is complete, even if an exporter failed afterwards. */
  verdict?: Verdict;
  /** Set when `status` is `failed`. */
  error?: Error;
}
