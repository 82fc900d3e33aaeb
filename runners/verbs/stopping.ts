/**
 * What `pause` and `cancel` share: ask the run's process, then wait until it has let go of the folder.
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { findRun, lockHolder, openRun } from "../../pipeline/store/live_run.ts";
import type { Positional, VerbContext } from "./verb.ts";

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

/** Asks, waits, and says what to do next. */
export async function stop(
  request: "pause" | "cancel",
  { args, positional, out, err, signal, format }: VerbContext<{ wait: boolean }>,
): Promise<number> {
  const run_dir = await findRun(positional[0] ?? "latest");
  {
    await using run = await openRun(run_dir);
    await run[request]();
  }
  if (args.wait) {
    err(`asked the run to ${request}; waiting for its process`);
    while ((await lockHolder(run_dir)) !== null) await sleep(100, undefined, { signal });
  }
  const done = { pause: "paused", cancel: "cancelled" }[request];
  if (format === "json") out(JSON.stringify({ run_dir, request, ended: args.wait }));
  else out(args.wait ? `${done}: \`hone resume ${run_dir}\` goes on from here` : `asked ${run_dir} to ${request}`);
  return 0;
}
