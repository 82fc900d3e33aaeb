import assert from "node:assert/strict";
import type { Envelope } from "../../pipeline/events.ts";
import { NO_PROGRESS } from "../../pipeline/run/progress/progress.ts";
import { type RecordingOptions, recordingTerminal } from "../../tests/fixtures/recording_terminal.ts";
import { Screen } from "../../tests/fixtures/screen.ts";
import { Person } from "./person.ts";

const { signal } = new AbortController();
const envelope = { at: Date.UTC(2026, 10, 21, 10, 45), run_id: "r", source: "runner" };
const STARTED: Envelope = { ...envelope, seq: 7, type: "rung.started", data: { rung: "rl", total: 8 } };
const METRIC: Envelope = { ...envelope, seq: 8, type: "metric.recorded", data: { name: "loss", value: 0.5, step: 1 } };
const read = () => ({ ...NO_PROGRESS, rung: "rl", elapsed_secs: 65 });

/** What a person is shown during `work`. */
function shown(
  work: (person: Person) => void,
  { streams, format = "text", ...options }: { streams?: true; format?: string } & RecordingOptions = {},
) {
  const { terminal, said } = recordingTerminal(options);
  {
    using person = new Person(terminal, { streams }, format, signal);
    work(person);
  }
  const { out, err, drawn } = said;
  return { out, err, drawn };
}

Deno.test("Person shows progress and log lines apart from notes, which end what is redrawn", () => {
  const screen = new Screen(60, 24);
  const work = (person: Person) => {
    person.progress(read);
    person.log("info", "a line of the log");
    person.note("two\nlines");
  };
  const plain = shown(work);
  assert.deepEqual(plain, { out: [], err: ["two\nlines"], drawn: ["1:05 rl\n", "1:05 a line of the log\n"] });
  const live = shown(work, { live: true, on_drawn: screen.write });
  assert.deepEqual([live.out, live.err, screen.lines], [[], ["two\nlines"], ["a line of the log"]]);
});

Deno.test("Person shows the milestones of a run above its progress on a terminal, and all events elsewhere", () => {
  const work = (person: Person) => {
    person.progress(read);
    person.event(STARTED);
    person.event(METRIC);
  };
  const [started, metric] = [
    "10:45:00      7 rung.started         runner: rung=rl total=8",
    "10:45:00      8 metric.recorded      runner: name=loss value=0.5 step=1",
  ];
  const screen = new Screen(80, 24);
  shown(work, { streams: true, live: true, on_drawn: screen.write });
  assert.deepEqual(screen.lines, [started]);
  assert.deepEqual(shown(work, { streams: true }), { out: [started, metric], err: [], drawn: [] });
  const json = shown(work, { streams: true, live: true, format: "json" });
  assert.deepEqual(json, { out: [JSON.stringify(STARTED), JSON.stringify(METRIC)], err: [], drawn: [] });
  const asked_for = shown((person) => person.event(METRIC), { streams: true, live: true });
  assert.deepEqual(asked_for, { out: [metric], err: [], drawn: [] });
});

Deno.test("Person agrees to what is shown when the answer is yes, and says when nobody is there to be asked", async () => {
  for (
    const [answer, agreed] of [["y", true], ["Yes ", true], ["", false], ["no", false], [undefined, null]] as const
  ) {
    const { terminal, said } = recordingTerminal({ answer });
    using person = new Person(terminal, {}, "text", signal);
    assert.equal(await person.confirm("run them?", "a starts b"), agreed, answer);
    assert.deepEqual([said.err, said.asked], [["a starts b"], ["run them? [y/N] "]]);
  }
});
