/**
 * What the bus costs per event, from `publish` to the end of the handler, check of the payload included. Wanted: below
 * 2 µs with one subscriber and one tap.
 * @module
 */
import { Bus } from "../../pipeline/bus.ts";
import { sampleTurn } from "./samples.ts";

const bus = new Bus("bench");
let seen = 0;
bus.subscribe("metric.recorded", { stage: "bench" }, () => void seen++);
bus.subscribe("turn.completed", { stage: "bench" }, () => void seen++);
bus.tap(() => void seen++);
const metric = { name: "loss", value: 0.5, step: 3 };
const turn = { rollout_id: "s0-g0-r0", turn: sampleTurn(0, 400, 100) };

Deno.bench("publish() a metric, one subscriber, one tap", { group: "bus", baseline: true }, async () => {
  await bus.publish("trainer", "metric.recorded", metric);
});

Deno.bench("publish() a turn of 100 tokens, one subscriber, one tap", { group: "bus" }, async () => {
  await bus.publish("rollout", "turn.completed", turn);
});
