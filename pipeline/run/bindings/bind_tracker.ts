/** Every event → each tracker, without slowing the run. Errors of a tracker are logged once, then ignored. @module */
import { messageOf } from "../../diagnostics/mod.ts";
import type { Bound } from "../bindings.ts";
import type { Run } from "../context.ts";

/** Binds every tracker, as a tap: it has no handlers. */
export function bind(run: Run): Bound[] {
  for (const { id, use, role } of run.roles.trackers) {
    let told = false;
    run.bus.tap(async (event) => {
      try {
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
