import assert from "node:assert/strict";
import { Bus } from "./bus.ts";
import type { Envelope } from "./events.ts";

const metric = (value: number) => ({ name: "x", value, step: 0 });

Deno.test("Bus.emit() numbers events and waits for listeners when asked to", async () => {
  const bus = new Bus("r");
  const seen: number[] = [];
  bus.on("metric.recorded", async ({ seq, data }) => {
    await Promise.resolve();
    seen.push(seq * 10 + data.value);
  });
  await bus.emit("t", "metric.recorded", metric(1)).ordered;
  await bus.emit("t", "metric.recorded", metric(2)).ordered;
  assert.deepEqual(seen, [11, 22]);
});

Deno.test("Bus.emit() refuses a payload of another shape and names the field", () => {
  const bus = new Bus("r");
  assert.throws(() => bus.emit("t", "metric.recorded", { name: "x", value: NaN, step: 0 }), {
    message: "Cannot emit metric.recorded: value is null, which is not of the event's shape",
  });
  // @ts-expect-error -- an unknown event does not compile
  assert.throws(() => bus.emit("t", "no.such", {}), { message: 'Cannot emit "no.such": no such event' });
});

Deno.test("Bus.onAny() drops and counts what a tap is too slow for", async () => {
  const bus = new Bus("r");
  const seen: number[] = [];
  bus.onAny((envelope: Envelope) => void seen.push(envelope.seq), { limit: 2 });
  for (let i = 0; i < 5; i++) bus.emit("t", "metric.recorded", metric(i));
  await new Promise((done) => setTimeout(done, 5));
  assert.deepEqual(seen, [1, 2]);
  assert.equal(bus.dropped, 3);
});

Deno.test("Bus.on() stops calling a listener when its signal is aborted", () => {
  const bus = new Bus("r");
  const control = new AbortController();
  let calls = 0;
  bus.on("metric.recorded", () => void calls++, { signal: control.signal });
  bus.emit("t", "metric.recorded", metric(1));
  control.abort();
  bus.emit("t", "metric.recorded", metric(2));
  assert.equal(calls, 1);
});

Deno.test("Bus.emit() resolves durable only after the sink has kept a durable noun", async () => {
  const kept = Promise.withResolvers<void>();
  const bus = new Bus("r", { append: () => kept.promise });
  let done = false;
  const { durable } = bus.emit("t", "run.ended", { status: "completed" });
  durable.then(() => done = true);
  await bus.emit("t", "metric.recorded", metric(1)).durable;
  assert.equal(done, false);
  kept.resolve();
  await durable;
});
