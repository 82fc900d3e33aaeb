/**
 * Every event → each tracker, without slowing the run. A tracker may measure: what it measures is published as
 * metric.recorded. Errors of a tracker are logged once, then ignored.
 * @module
 */
import { messageOf } from "../../diagnostics/mod.ts";
import type { Envelope } from "../../events.ts";
import type { Roles, TrackedRun } from "../../plugin.ts";
import { recordedFigures } from "../../store/recorded_figures.ts";
import type { Bound } from "../bindings.ts";
import type { Run } from "../context.ts";
import { trackedSettings } from "../tracked_settings.ts";

/** Binds every tracker, as a tap: it has no handlers. */
export function bind(run: Run): Bound[] {
  for (const { id, use, role } of run.roles.trackers) {
    let told = false;
    let begun: Promise<void> | undefined;
    run.bus.tap(async (event) => {
      try {
        await (begun ??= begin(run, id, role, event));
        // A copy: handlers and the store use the same object.
        await role.on(structuredClone(event));
      } catch (error) {
        if (!told) run.log.warn(`tracker ${id} (${use}) failed and may miss events: ${messageOf(error)}`);
        told = true;
      }
    }, { name: `tracker ${id} (${use})` });
  }
  return [];
}

async function begin(run: Run, id: string, role: Roles["tracker"], first: Envelope): Promise<void> {
  if (!role.begin) return;
  const { bus, config, run_dir: dir, resumed, store } = run;
  const tracked: TrackedRun = {
    run_id: bus.run_id,
    dir,
    name: config.name,
    settings: trackedSettings(config),
    recorded: resumed ? await recordedFigures(store, bus.run_id, first.seq) : [],
    // Not awaited: a tracker waits for nothing of the run. An invalid value throws at once.
    record: (metric) => void bus.publish(id, "metric.recorded", metric),
  };
  await role.begin(tracked);
}
