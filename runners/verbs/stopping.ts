/**
 * What `pause` and `cancel` share: ask the run's process, then wait until it has let go of the folder.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { findRun, lockHolder, openRun } from "../../pipeline/store/live_run.ts";
import type { Positional, VerbCall } from "./verb.ts";

/** The run to stop. */
export const positional: Positional[] = [{
  name: "run",
  description: "A run's folder, its id or the beginning of one; the newest when left out.",
  optional: true,
}];

/** Flags of both verbs. */
export const args = z.strictObject({
  wait: z.boolean().default(true).describe("Wait until the run's process has ended; --no-wait only asks."),
});

/** What both verbs return. */
export const result = z.object({
  run_dir: z.string(),
  request: z.enum(["pause", "cancel"]),
  ended: z.boolean().describe("True where the run's process was waited for and is gone."),
});
type Stopped = z.output<typeof result>;

/** Asks, and waits. */
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
    caller.note(`asked the run to ${request}; waiting for its process`);
    while ((await lockHolder(run_dir)) !== null) await sleep(100, undefined, { signal });
  }
  return { run_dir, request, ended: wait };
}

/** What was done, and how to go on. */
export function text({ run_dir, request, ended }: Stopped): string {
  const done = { pause: "paused", cancel: "cancelled" }[request];
  return ended ? `${done}: \`hone resume ${run_dir}\` goes on from here` : `asked ${run_dir} to ${request}`;
}
