import assert from "node:assert/strict";
import { Bus } from "./bus.ts";
import type { Envelope } from "./events.ts";

const metric = (value: number) => ({ name: "x", value, step: 0 });
const later = () => new Promise((done) => setTimeout(done, 5));

Deno.test("Bus.publish() numbers events and hands them to subscribers in order", async () => {
  const bus = new Bus("r");
  const seen: number[] = [];
  bus.subscribe("metric.recorded", { stage: "s" }, async ({ seq, data }) => {
    await Promise.resolve();
    seen.push(seq * 10 + data.value);
  });
  await bus.publish("t", "metric.recorded", metric(1));
  await bus.publish("t", "metric.recorded", metric(2));
  await bus.idle();
  assert.deepEqual(seen, [11, 22]);
});

Deno.test("Bus.publish() refuses a payload of another shape and names the field", () => {
  const bus = new Bus("r");
  assert.throws(() => bus.publish("t", "metric.recorded", { name: "x", value: NaN, step: 0 }), {
    message: "Cannot publish metric.recorded: value is null, which is not of the event's shape",
  });
  // @ts-expect-error -- an unknown event does not compile
  assert.throws(() => bus.publish("t", "no.such", {}), { message: 'Cannot publish "no.such": no such event' });
});

Deno.test("Bus.publish() waits for room in a subscriber's queue, and for nothing else", async () => {
  const bus = new Bus("r");
  const gate = Promise.withResolvers<void>();
  const handled: number[] = [];
  bus.subscribe("metric.recorded", { stage: "s", capacity: 2 }, async ({ data }) => {
    await gate.promise;
    handled.push(data.value);
  });
  const taken: number[] = [];
  // One is being handled, two wait; the fourth has to wait for room.
  for (const value of [1, 2, 3, 4]) {
    void bus.publish("t", "metric.recorded", metric(value)).then(() => taken.push(value));
  }
  await later();
  assert.deepEqual([taken, handled], [[1, 2, 3], []]);
  gate.resolve();
  await bus.idle();
  assert.deepEqual([taken, handled], [[1, 2, 3, 4], [1, 2, 3, 4]]);
});

Deno.test("Bus.subscribe() handles as many events at once as it was told to", async () => {
  const bus = new Bus("r");
  let [running, most] = [0, 0];
  bus.subscribe("metric.recorded", { stage: "s", concurrency: 3 }, async () => {
    most = Math.max(most, ++running);
    await later();
    running--;
  });
  for (let i = 0; i < 8; i++) await bus.publish("t", "metric.recorded", metric(i));
  await bus.idle();
  assert.equal(most, 3);
});

Deno.test("an event that a handler publishes names the one that made it, recalled ones included", async () => {
  const kept: Envelope[] = [];
  const bus = new Bus("r", { append: (envelope) => Promise.resolve(void kept.push(envelope)) });
  bus.subscribe("rung.started", { stage: "asks" }, (_, { deliver }) => deliver("metric.recorded", metric(7), true));
  bus.subscribe(
    "metric.recorded",
    { stage: "answers" },
    ({ data }, { publish }) => publish("stage.failed", { stage: "s", code: "C", message: `${data.value}` }),
  );
  await bus.publish("t", "rung.started", { rung: "rl", total: 1 });
  await bus.idle();
  // What is recalled is on record already: it gets no number and no second record.
  assert.deepEqual(kept.map(({ seq, type, source, cause }) => [seq, type, source, cause]), [
    [1, "rung.started", "t", undefined],
    [2, "stage.failed", "answers", 1],
  ]);
});

Deno.test("a handler that throws while a queue is full ends delivery: nobody hangs, nothing recorded is lost", async () => {
  const kept: number[] = [];
  const stop = new AbortController();
  const failures: string[] = [];
  const bus = new Bus("r", { append: ({ seq }) => Promise.resolve(void kept.push(seq)) }, {
    signal: stop.signal,
    on_error: (error, { stage, event }) => {
      failures.push(`${stage} at #${event.seq}: ${(error as Error).message}`);
      stop.abort(error);
    },
  });
  bus.subscribe("metric.recorded", { stage: "s", capacity: 1 }, async () => {
    await later();
    throw new Error("no");
  });
  const published = [1, 2, 3, 4].map((value) => bus.publish("t", "metric.recorded", metric(value)));
  const ends = await Promise.allSettled(published);
  await bus.idle();
  assert.deepEqual(failures, ["s at #1: no"]);
  assert.deepEqual(ends.map(({ status }) => status), ["fulfilled", "fulfilled", "rejected", "rejected"]);
  await bus.publish("t", "run.ended", { status: "failed" });
  assert.deepEqual(kept, [1, 2, 3, 4, 5]);
});

Deno.test("Bus.idle() waits for what handlers publish, too", async () => {
  const bus = new Bus("r");
  const seen: string[] = [];
  bus.subscribe("rung.started", { stage: "a" }, async (_, { publish }) => {
    await later();
    await publish("metric.recorded", metric(1));
  });
  bus.subscribe("metric.recorded", { stage: "b" }, async () => {
    await later();
    seen.push("metric");
  });
  await bus.publish("t", "rung.started", { rung: "rl", total: 1 });
  await bus.idle();
  assert.deepEqual(seen, ["metric"]);
});

Deno.test("Bus.tap() drops and counts what a tap is too slow for", async () => {
  const bus = new Bus("r");
  const seen: number[] = [];
  bus.tap((envelope: Envelope) => void seen.push(envelope.seq), { limit: 2 });
  for (let i = 0; i < 5; i++) bus.publish("t", "metric.recorded", metric(i));
  await later();
  assert.deepEqual(seen, [1, 2]);
  assert.equal(bus.dropped, 3);
});

Deno.test("Bus.tap() stops calling a tap that was taken away; seen() waits for those that are there", async () => {
  const bus = new Bus("r");
  let calls = 0;
  const off = bus.tap(async () => {
    await later();
    calls++;
  });
  bus.publish("t", "metric.recorded", metric(1));
  await bus.seen();
  off();
  bus.publish("t", "metric.recorded", metric(2));
  await later();
  assert.equal(calls, 1);
});

Deno.test("Bus.publish() resolves a durable noun only after the sink has kept it", async () => {
  const kept = Promise.withResolvers<void>();
  const bus = new Bus("r", { append: () => kept.promise });
  let done = false;
  const durable = bus.publish("t", "run.ended", { status: "completed" });
  durable.then(() => done = true);
  await bus.publish("t", "metric.recorded", metric(1));
  assert.equal(done, false);
  kept.resolve();
  await durable;
});
