/** `hone watch`: the events of a live run as they happen. @module */
import { z } from "zod";
import { control as messages, HoneError } from "../../pipeline/diagnostics.ts";
import { findRun, openRun, toLine } from "../../pipeline/control.ts";
import type { Envelope } from "../../pipeline/events.ts";
import { oneLine } from "./table.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "watch",
  summary: "Follow a live run.",
  description:
    "Shows the events of a live run from now on, until it ends or Ctrl-C; the run itself is not touched. Text is one " +
    "line per event, json the whole events as JSON lines. A reader that is too slow misses events; seq shows the gap.",
  positional: [{
    name: "run",
    description: "A run's folder, its id or the beginning of one; the newest when left out.",
    optional: true,
  }],
  args: z.strictObject({
    only: z.array(z.string()).default([]).describe("Show events whose name begins so, as train.; may be repeated."),
  }),
  examples: ["hone watch", "hone watch latest --only train. --only evaluation.", "hone watch --format json"],
  async run({ args, positional, out, err, signal, format }) {
    await using run = await openRun(await findRun(positional[0] ?? "latest"));
    if (!run.live) throw new HoneError(messages.run_not_live(run.run_dir));
    let ended = false;
    try {
      for await (const event of run.watch(signal)) {
        ended ||= event.type === "run.ended";
        if (args.only.length > 0 && !args.only.some((start) => event.type.startsWith(start))) continue;
        out(format === "json" ? toLine(event).trimEnd() : line(event));
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
    if (ended || signal.aborted) return 0;
    err("the run's process is gone: `hone resume` goes on from what it recorded");
    return 1;
  },
});

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
