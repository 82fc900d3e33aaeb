/** `hone watch`: a live run as it goes on, in a terminal as `hone run` shows it, or its events. @module */
import process from "node:process";
import { z } from "zod";
import { control as messages, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { findRun, openRun, type RunClient, toLine } from "../../pipeline/store/live_run.ts";
import type { Envelope } from "../../pipeline/events.ts";
import { NO_PROGRESS, type ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";
import { isTerminal } from "../cli/live_frame.ts";
import { ProgressView } from "../cli/progress_view.ts";
import { oneLine } from "../cli/table.ts";
import { defineVerb } from "./verb.ts";

/** Between two readings of the run's progress. */
const POLL_MS = 400;
/** Events that are lines above the live view. */
const MILESTONES = ["rung.started", "train.stepped", "evaluation.completed", "stage.failed", "run.ended"];

export default defineVerb({
  name: "watch",
  summary: "Follow a live run.",
  description:
    "Until the run ends or Ctrl-C; the run itself is not touched. A terminal shows what `hone run` shows: where the run " +
    "is and its rollouts in flight. Elsewhere, and with --events or --only, its events from now on: as text one line " +
    "per event, as json the whole events as JSON lines. A reader that is too slow misses events; seq shows the gap.",
  positional: [{
    name: "run",
    description: "A run's folder, its id or the beginning of one; the newest when left out.",
    optional: true,
  }],
  args: z.strictObject({
    only: z.array(z.string()).default([]).describe("Show events whose name begins so, as train.; may be repeated."),
    events: z.boolean().default(false).describe("Show the events on a terminal too."),
  }),
  examples: ["hone watch", "hone watch latest --only train. --only evaluation.", "hone watch --format json"],
  async run({ args, positional, out, err, signal, format }) {
    await using run = await openRun(await findRun(positional[0] ?? "latest"));
    if (!run.live) throw new HoneError(messages.run_not_live(run.run_dir));
    const live = format === "text" && !args.events && args.only.length === 0 && isTerminal(process.stdout);
    let ended = false;
    using view = live ? follow(run, (text) => void process.stdout.write(text)) : null;
    const only = live ? MILESTONES : args.only;
    try {
      for await (const event of run.watch(signal)) {
        ended ||= event.type === "run.ended";
        if (only.length > 0 && !only.some((start) => event.type.startsWith(start))) continue;
        if (view) view.line(line(event));
        else out(format === "json" ? toLine(event).trimEnd() : line(event));
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    view?.[Symbol.dispose]();
    if (ended || signal.aborted) return 0;
    err("the run's process is gone: `hone resume` goes on from what it recorded");
    return 1;
  },
});

/** Shows a run's progress until disposed, read from its process. */
export function follow(run: Pick<RunClient, "status">, write: (text: string) => void) {
  const view = new ProgressView({ live: true, write });
  let over = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const poll = async () => {
    // A run that has just ended does not answer; its last event says so.
    const status = await run.status().catch(() => null);
    if (over) return;
    if (status) {
      const latest: ProgressSnapshot = { ...NO_PROGRESS, ...status };
      view.update(() => latest);
    }
    timer = setTimeout(poll, POLL_MS);
  };
  void poll();
  return {
    line: (text: string) => view.line(text),
    [Symbol.dispose]() {
      over = true;
      clearTimeout(timer);
      view[Symbol.dispose]();
    },
  };
}

/** An event in one line: time, number, name, and what of its payload is short. */
function line({ seq, at, type, source, data }: Envelope): string {
  const time = new Date(at).toISOString().slice(11, 19);
  return `${time} ${String(seq).padStart(6)} ${type.padEnd(20)} ${source}: ${oneLine(words(data), 140)}`;
}

function words(data: object): string {
  return Object.entries(data).flatMap(([name, value]) => {
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
      return [`${name}=${oneLine(value, 60)}`];
    }
    if (name === "turn" || name === "call" || name === "outcome") return [words(value)];
    return [];
  }).join(" ");
}
