import assert from "node:assert/strict";
import { Progress, type ProgressSnapshot } from "../../pipeline/runner/progress.ts";
import { describe, duration, ProgressView } from "./progress.ts";

const CLEAR = "\r\x1b[2K";

/** What a view writes while a run's progress goes through `work`. */
function seen(live: boolean, work: (progress: Progress, view: ProgressView) => void, columns = 80): string[] {
  const written: string[] = [];
  {
    using view = new ProgressView({ live, write: (text) => void written.push(text), columns: () => columns });
    work(new Progress((snapshot) => view.update(snapshot)), view);
  }
  return written;
}

Deno.test("describe() gives rung, step, rate, success, failures and time left, and leaves out what is unknown", () => {
  const snapshot: ProgressSnapshot = {
    rung: "rl",
    step: 3,
    steps: 8,
    done: 12,
    total: 48,
    tokens_per_second: 251.4,
    success: 0.25,
    failures: { timeout: 2 },
    running: 36,
    eta_secs: 125,
    message: "",
  };
  assert.equal(describe(snapshot), "rl 3/8 · 12/48 · 251 tok/s · 25 % success · failed: 2 timeout · 2:05 left");
  const unknown = {
    ...snapshot,
    steps: 0,
    total: 0,
    tokens_per_second: 0,
    success: null,
    failures: {},
    eta_secs: null,
  };
  assert.equal(describe({ ...unknown, rung: "open the model", message: "loading" }), "open the model · loading");
});

Deno.test("duration() gives minutes, and hours where there are any", () => {
  assert.deepEqual([0, 59.6, 3599, 3661, -1].map(duration), ["0:00", "1:00", "59:59", "1:01:01", "0:00"]);
});

Deno.test("ProgressView writes one plain line for each unit of work and message when there is no terminal", () => {
  const written = seen(false, (progress, view) => {
    progress.begin("evaluate base", 2);
    progress.judged(true);
    progress.judged(false);
    progress.begin("open the model", 0);
    progress.say("loading");
    progress.running(1);
    view.line("a line of the log");
  });
  assert.deepEqual(written, [
    "0:00 evaluate base · 0/2\n",
    "0:00 open the model\n",
    "0:00 open the model · loading\n",
    "0:00 a line of the log\n",
  ]);
});

Deno.test("ProgressView keeps one live line below the log on a terminal, and leaves none behind", () => {
  const written = seen(true, (progress, view) => {
    progress.begin("evaluate base", 2);
    progress.judged(true);
    view.line("first");
  });
  assert.deepEqual(written, [`${CLEAR}first\n`, `${CLEAR}0:00 evaluate base · 1/2 · 100 % success`, CLEAR]);
});

Deno.test("ProgressView never sends a terminal more than its width, nor what a server wrote to control it", () => {
  const [line, live] = seen(true, (progress, view) => {
    progress.begin("x".repeat(300), 0);
    view.line("it said \x1b[2J\nand more");
  }, 40);
  assert.equal(line, `${CLEAR}it said \\u{1b}[2J\\nand more\n`);
  assert.equal(live!.length, CLEAR.length + 39);
});

Deno.test("Progress tells its listener how many tokens come per second", () => {
  let last = 0;
  const progress = new Progress(({ tokens_per_second }) => last = tokens_per_second);
  progress.begin("rl", 1);
  progress.tokens(500);
  progress.advance();
  assert.ok(last > 0 && last <= 500, String(last));
});
