/** What a tracker is told of its run, besides the events. Part of the plugin API; exported by `plugin.ts`. @module */
import type { Envelope } from "../events.ts";

/** The run that a tracker follows. */
export interface TrackedRun {
  run_id: string;
  /** Absolute path of the run's folder. */
  dir: string;
  /** Name of the pipeline. */
  name: string;
  /** Main settings by dotted name, such as `train.group_size`, without secrets. */
  settings: Record<string, string | number | boolean>;
  /**
   * The steps, evaluations and metrics that earlier starts of the run recorded (`train.stepped`, `evaluation.completed`,
   * `metric.recorded`), in their order; empty for a new run.
   */
  recorded: readonly Envelope[];
  /** Records a figure that the tracker measured, as a metric of the run; `step` is that of the optimiser. */
  record(metric: { name: string; value: number; step: number }): void;
}
