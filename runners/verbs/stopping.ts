/**
 * Shared by `pause` and `cancel`: send the request to the run's process, then wait until it releases the folder.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { findRun, lockHolder, openRun } from "../../pipeline/store/live_run.ts";
import type { Positional, VerbCall } from "./verb.ts";

/** The run to stop. */
export const positional: Positional[] = [{
  name: "run",
  description: "A run's folder, its id or a prefix of it. Default: the newest run.",
  optional: true,
}];

/** Flags of both verbs. */
export const args = z.strictObject({
  wait: z.boolean().default(true).describe(
    "Wait until the run's process has exited; --no-wait only sends the request.",
  ),
});

/** What both verbs return. */
export const result = z.object({
  run_dir: z.string(),
  request: z.enum(["pause", "cancel"]),
  ended: z.boolean().describe("True if the run's process was waited for and has exited."),
});
type Stopped = z.output<typeof result>;

/** Sends the request and waits. */
export async function stop(
  request: Stopped["request"],
  { args: { wait }, positional, signal, caller }: VerbCall<{ wait: boolean }>,
): Promise<Stopped> {
  const run_dir = await findRun(positional[0] ?? "latest");
  {
    await using run = await openRun(run_dir);
    await run[request]();
  }
  if (wait) {
    caller.note(`${request} requested; waiting for the run's process to exit`);
    while ((await lockHolder(run_dir)) !== null) await sleep(100, undefined, { signal });
  }
  return { run_dir, request, ended: wait };
}

/** What was done, and how to continue. */
export function text({ run_dir, request, ended }: Stopped): string {
  const done = { pause: "paused", cancel: "cancelled" }[request];
  return ended ? `${done}: \`hone resume ${run_dir}\` continues the run` : `${request} requested: ${run_dir}`;
}
