import assert from "node:assert/strict";
import { Forecast, type Phase, type Speeds } from "./forecast.ts";

const evaluation = (name: string, units = 40): Phase => ({ name, kind: "rollout", counts: "rollouts", units });
const closing: Phase[] = [
  { name: "verdict", kind: "verdict", counts: "steps", units: 1, guess: () => 2 },
  { name: "export", kind: "export", counts: "steps", units: 1, guess: () => 2 },
];

/** A run whose clock only `pass` moves. It reads the forecast every fifth of a second and keeps what it showed. */
function simulated(phases: Phase[]) {
  let now = 100;
  const forecast = new Forecast(() => now);
  forecast.plan(phases);
  const shown: { at: number; left: number | null }[] = [];
  const pass = (secs: number, running = 0, limit?: number) => {
    for (let i = 0; i < secs * 5; i++) {
      now += 0.2;
      shown.push({ at: now, left: forecast.left(running, limit) });
    }
  };
  /** Rollouts of a phase, `at_once` of them side by side. */
  const rollouts = (name: string, units: number, at_once: number, secs: number) => {
    forecast.begin(name);
    for (let left = units; left > 0; left -= at_once) {
      pass(secs, Math.min(left, at_once));
      forecast.done("rollouts", Math.min(left, at_once));
    }
  };
  return { forecast, shown, pass, rollouts, left: () => forecast.left(0), now: () => now };
}

Deno.test("Forecast counts every phase to come at the speed of its kind, and says nothing without a basis", () => {
  const run = simulated([
    evaluation("evaluate base"),
    { name: "warm start", kind: "supervised", counts: "steps", units: 4 },
    evaluation("evaluate tuned"),
    ...closing,
  ]);
  assert.equal(run.left(), null);
  run.rollouts("evaluate base", 40, 8, 4);
  assert.equal(run.left(), null);
  run.forecast.begin("warm start");
  run.pass(3);
  assert.equal(run.left(), null);
  run.forecast.done("steps");
  // 3 steps of 3 s, 40 rollouts of half a second, 4 s for verdict and export.
  assert.equal(Math.round(run.left()!), 9 + 20 + 4);
});

Deno.test("Forecast starts from the speeds of an earlier run, and from its own once it has one", () => {
  const forecast = new Forecast(() => 0);
  const earlier: Speeds = (kind) => ({ rollout: 2, supervised: 3 } as Record<string, number>)[kind] ?? null;
  const warm: Phase = { name: "warm start", kind: "supervised", counts: "steps", units: 4 };
  forecast.plan([evaluation("evaluate base"), warm, ...closing], earlier);
  assert.equal(forecast.left(0), 40 * 2 + 4 * 3 + 4);
  forecast.plan([{ ...evaluation("job"), kind: "job" }], earlier);
  assert.equal(forecast.left(0), null);
});

Deno.test("Forecast.speeds() has the last speed of each kind that did something", () => {
  const run = simulated([evaluation("evaluate base"), evaluation("evaluate tuned", 10), ...closing]);
  assert.deepEqual(run.forecast.speeds(), {});
  run.rollouts("evaluate base", 40, 8, 4);
  run.rollouts("evaluate tuned", 10, 10, 5);
  assert.deepEqual(Object.keys(run.forecast.speeds()), ["rollout"]);
  assert.equal(run.forecast.speeds().rollout!.toFixed(3), "0.500");
});

Deno.test("Forecast is close to what remains all the way, never negative, never jumping, and ends at 0", () => {
  const rl: Phase = {
    name: "rl",
    kind: "rl",
    counts: "steps",
    units: 10,
    guess: (speeds) => 16 * speeds("rollout")! + 5,
  };
  const run = simulated([evaluation("evaluate base"), rl, evaluation("evaluate tuned"), ...closing]);
  run.rollouts("evaluate base", 40, 8, 4);
  for (let step = 0; step < 10; step++) {
    run.forecast.begin("rl");
    run.pass(8 + step % 3, 16);
    run.pass(5);
    run.forecast.done("steps");
  }
  run.rollouts("evaluate tuned", 40, 8, 3);
  for (const { name } of closing) {
    run.forecast.begin(name);
    run.pass(1.4);
    run.forecast.done("steps");
  }
  const total = run.now();
  assert.ok(run.left()! < 3, `${run.left()} s at the end`);
  run.forecast.end();
  assert.equal(run.left(), 0);
  const known = run.shown.filter(({ left }) => left !== null);
  for (const [index, { at, left }] of known.entries()) {
    const truth = total - at;
    assert.ok(left! >= 0);
    assert.ok(Math.abs(left! - truth) <= 0.3 * truth + 5, `${left} s shown, ${truth} s to go`);
    const before = known[index - 1];
    if (before) assert.ok(Math.abs(left! - before.left!) < 1.5, `from ${before.left} to ${left}`);
  }
});

Deno.test("Forecast ends training where the run's own limit does, and keeps time for what follows", () => {
  const rl: Phase = { name: "rl", kind: "rl", counts: "steps", units: 1000, limited: true };
  const run = simulated([evaluation("evaluate base"), rl, evaluation("evaluate tuned"), ...closing]);
  run.rollouts("evaluate base", 40, 40, 10);
  run.forecast.begin("rl");
  run.pass(10, 0, 100);
  run.forecast.done("steps");
  assert.equal(Math.round(run.forecast.left(0, 60)!), 60);
  run.forecast.begin("evaluate tuned");
  run.pass(60, 40, 5);
  assert.ok(run.forecast.left(40, 0)! < 20);
});

Deno.test("Forecast does not take rollouts of an earlier attempt for fast ones", () => {
  const run = simulated([evaluation("evaluate base"), evaluation("evaluate tuned"), ...closing]);
  run.forecast.begin("evaluate base");
  run.forecast.skip("rollouts", 30);
  run.pass(10, 10);
  run.forecast.done("rollouts", 10);
  run.forecast.begin("evaluate tuned");
  // Ten rollouts took ten seconds: forty are to come, and 4 s for verdict and export.
  assert.equal(Math.round(run.left()!), 40 + 4);
});

Deno.test("Forecast goes on with a phase that another one interrupts", () => {
  const rl: Phase = { name: "rl", kind: "rl", counts: "steps", units: 4 };
  const run = simulated([rl, { ...evaluation("validation", 20), within: "rl" }]);
  for (const validates of [false, true]) {
    run.forecast.begin("rl");
    run.pass(10);
    run.forecast.done("steps");
    if (validates) run.rollouts("validation", 10, 10, 5);
  }
  run.forecast.begin("rl");
  run.pass(30, 0);
  run.forecast.done("steps", 2);
  // No step is left: what remains are the ten rollouts of the second validation, half a second each.
  run.pass(60);
  assert.ok(run.left()! > 3.5 && run.left()! <= 5, String(run.left()));
});
