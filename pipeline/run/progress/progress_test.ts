import assert from "node:assert/strict";
import { Progress } from "./progress.ts";

/** Progress with a clock that the test moves. */
function clocked() {
  const clock = { secs: 100 };
  return { clock, progress: new Progress(() => {}, () => clock.secs) };
}

Deno.test("tokens per second are those of the last seconds, and absent where nobody samples", () => {
  const { clock, progress } = clocked();
  const rate = () => progress.snapshot().tokens_per_second;
  const rollout = progress.rollout("r1", "one");
  for (let second = 0; second < 20; second++) {
    clock.secs++;
    progress.tokens(50);
  }
  assert.ok(Math.abs(rate()! - 50) < 8, String(rate()));
  for (let second = 0; second < 20; second++) {
    clock.secs++;
    progress.tokens(10);
  }
  assert.ok(Math.abs(rate()! - 10) < 3, String(rate()));
  clock.secs += 20;
  assert.equal(rate(), null);
  rollout.end();
  assert.equal(rate(), null);
});

Deno.test("tokens per second do not count the time before sampling began", () => {
  const { clock, progress } = clocked();
  const first = progress.rollout("r1", "one");
  progress.tokens(1000);
  first.end();
  clock.secs += 600;
  progress.rollout("r2", "one");
  clock.secs += 2;
  progress.tokens(100);
  assert.equal(progress.snapshot().tokens_per_second, 50);
});
