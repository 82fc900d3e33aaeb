/** `hone watch`: a live run as it goes on, with its progress, or its events alone. @module */
import { z } from "zod";
import { control as messages, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Envelope } from "../../pipeline/events.ts";
import { findRun, openRun, type RunClient } from "../../pipeline/store/live_run.ts";
import { NO_PROGRESS, type ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";
import { defineVerb } from "./verb.ts";

/** Between two readings of the run's progress. */
const POLL_MS = 400;

const status = z.enum(["completed", "failed", "cancelled", "paused", "running", "gone"])
  .describe("How the run ended; running where nobody watches any more, gone where its process is.");
type Status = z.output<typeof status>;

export default defineVerb({
  name: "watch",
  summary: "Follow a live run.",
  description:
    "Until the run ends or Ctrl-C; the run itself is not touched. A terminal shows what `hone run` shows: where the run " +
    "is and its rollouts in flight. Elsewhere, and with --events or --only, its events from now on: as text one line " +
    "per event, as json the whole events as JSON lines. A reader that is too slow misses events; seq shows the gap.",
  effect: "reads",
  terminal_only: true,
  streams: true,
  positional: [{
    name: "run",
    description: "A run's folder, its id or the beginning of one; the newest when left out.",
    optional: true,
  }],
  args: z.strictObject({
    only: z.array(z.string()).default([]).describe("Show events whose name begins so, as train.; may be repeated."),
    events: z.boolean().default(false).describe("Show the events on a terminal too."),
  }),
  result: z.object({ run_dir: z.string(), status }),
  examples: ["hone watch", "hone watch latest --only train. --only evaluation.", "hone watch --format json"],
  async run({ args: { only, events }, positional, signal, caller }) {
    await using run = await openRun(await findRun(positional[0] ?? "latest"));
    const { run_dir } = run;
    if (!run.live) throw new HoneError(messages.run_not_live(run_dir));
    if (!events && only.length === 0) caller.progress(await readings(run));
    let seen: Status = "gone";
    try {
      for await (const event of run.watch(signal)) {
        if (event.type === "run.ended") seen = (event as Envelope<"run.ended">).data.status;
        if (only.length === 0 || only.some((start) => event.type.startsWith(start))) caller.event(event);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (seen === "gone" && signal.aborted) seen = "running";
    if (seen === "gone") caller.note("the run's process is gone: `hone resume` goes on from what it recorded");
    return { run_dir, status: seen };
  },
  text: ({ status }) => status,
  exit: ({ status }) => status === "gone" ? 1 : 0,
});

/** Reads what the run's process says of its progress: asks it as long as somebody reads, and never too often. */
export async function readings(run: Pick<RunClient, "status">): Promise<() => ProgressSnapshot> {
  let latest = NO_PROGRESS;
  let asked = 0;
  const ask = async () => {
    asked = performance.now();
    // A run that has just ended does not answer; its last event says so.
    latest = { ...latest, ...await run.status().catch(() => null) };
  };
  await ask();
  return () => {
    if (performance.now() - asked > POLL_MS) void ask();
    return latest;
  };
}
