/** `hone watch`: follows a live run: its progress, or only its events. @module */
import { z } from "zod";
import { control as messages, HoneError, shellPath } from "../../pipeline/diagnostics/mod.ts";
import { type Envelope, RUN_STATUSES } from "../../pipeline/events.ts";
import { findRun, openRun, type RunClient } from "../../pipeline/store/live_run.ts";
import { NO_PROGRESS, type ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";
import { defineVerb } from "./verb.ts";

/** Interval between two readings of the run's progress. */
const POLL_MS = 400;

const status = z.enum([...RUN_STATUSES, "running", "gone"])
  .describe("How the run ended; running: watching was stopped first; gone: the run's process exited.");
type Status = z.output<typeof status>;

export default defineVerb({
  name: "watch",
  summary: "Follow a live run.",
  description:
    "Follows a run until it ends or until Ctrl-C, without affecting it. On a terminal it shows what `hone run` shows: the " +
    "progress and the rollouts in flight. Otherwise, and with --events or --only, it prints new events: as text one line " +
    "per event, as json the complete events as JSON lines. A slow reader misses events; seq shows the gap.",
  effect: "reads",
  terminal_only: true,
  streams: true,
  positional: [{
    name: "run",
    description: "A run's folder, its id or a prefix of it. Default: the newest run.",
    optional: true,
  }],
  args: z.strictObject({
    only: z.array(z.string()).default([]).describe(
      "Show only events with this name prefix, for example train.; repeatable.",
    ),
    events: z.boolean().default(false).describe("Show the events on a terminal as well."),
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
    if (seen === "gone" && signal.aborted) {
      seen = "running";
      caller.note("stopped watching: the run goes on");
    }
    if (seen === "gone") {
      caller.note(`the run's process exited: \`hone resume ${shellPath(run_dir)}\` continues the run`);
    }
    return { run_dir, status: seen };
  },
  text: ({ status }) => status,
  exit: ({ status }) => status === "gone" ? 1 : 0,
});

/** Polls the run's process for its progress while somebody reads it, at a limited rate. */
export async function readings(run: Pick<RunClient, "status">): Promise<() => ProgressSnapshot> {
  let latest = NO_PROGRESS;
  let asked = 0;
  const ask = async () => {
    asked = performance.now();
    // A run that has just ended does not answer; its last event reports the end.
    latest = { ...latest, ...await run.status().catch(() => null) };
  };
  await ask();
  return () => {
    if (performance.now() - asked > POLL_MS) void ask();
    return latest;
  };
}
