/**
 * What the bus costs per event, check of the payload included. Wanted: below 2 µs with one listener and one tap.
 * @module
 */
import { Bus } from "../../pipeline/bus.ts";
import { sampleTurn } from "./samples.ts";

const bus = new Bus("bench");
let seen = 0;
bus.on("metric.recorded", () => void seen++);
bus.on("turn.completed", () => void seen++);
bus.onAny(() => void seen++);
const metric = { name: "loss", value: 0.5, step: 3 };
const turn = { rollout_id: "s0-g0-r0", turn: sampleTurn(0, 400, 100) };

Deno.bench("emit() a metric, one listener, one tap", { group: "bus", baseline: true }, () => {
  bus.emit("trainer", "metric.recorded", metric);
});

Deno.bench("emit() a turn of 100 tokens, one listener, one tap", { group: "bus" }, () => {
  bus.emit("rollout", "turn.completed", turn);
});
