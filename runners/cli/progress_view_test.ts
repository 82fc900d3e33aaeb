import assert from "node:assert/strict";
import { NO_PROGRESS, Progress, type ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";
import type { RunningRollout } from "../../pipeline/run/progress/in_flight.ts";
import { describe, duration, inFlight, ProgressView } from "./progress_view.ts";
import { Screen } from "../../tests/fixtures/screen.ts";

const snapshot: ProgressSnapshot = {
  ...NO_PROGRESS,
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
};

const rollout: RunningRollout = {
  rollout: "s0-g0-r0",
  scenario: "rename-1",
  doing: "tool",
  server: "files",
  tool: "move_file",
  turns: 1,
  seconds: 2.34,
};

/** A screen after a run's progress went through `work`, and what it shows while the view is still there. */
function onScreen(work: (progress: Progress, view: ProgressView, screen: Screen) => void, columns = 60, rows = 24) {
  const screen = new Screen(columns, rows);
  {
    using view = new ProgressView({ live: true, write: screen.write, size: () => screen });
    work(new Progress((read) => view.update(read)), view, screen);
  }
  return screen.lines;
}

Deno.test("describe() gives rung, step, rate, success, failures and time left, and leaves out what is unknown", () => {
  assert.equal(describe(snapshot), "rl 3/8 · 12/48 · 251 tok/s · 25 % success · 2:05 left · failed: 2 timeout");
  assert.equal(describe({ ...NO_PROGRESS, rung: "open the model", message: "loading" }), "open the model · loading");
});

Deno.test("inFlight() gives scenario, server, tool and how long, in as many lines as there are", () => {
  const rollouts: RunningRollout[] = [
    rollout,
    { ...rollout, scenario: "copy-2", doing: "model", server: "", tool: "", seconds: 125 },
    { ...rollout, scenario: "a-very-long-name-of-a-scenario-indeed", doing: "environment" },
    { ...rollout, scenario: "ファイル", doing: "observation" },
  ];
  assert.deepEqual(inFlight({ ...snapshot, rollouts }, 5, 70), [
    "  rename-1                files           move_file              2.3 s",
    "  copy-2                  model           turn 2                  2:05",
    "  a-very-long-name-of-a…                  starting servers       2.3 s",
    "  ファイル                                observed by judges     2.3 s",
    "  and 32 more in flight",
  ]);
  assert.equal(inFlight({ ...snapshot, rollouts }, 2, 70).length, 2);
  assert.deepEqual(inFlight({ ...snapshot, rollouts }, 0, 70), []);
});

Deno.test("duration() gives minutes, and hours where there are any", () => {
  assert.deepEqual([0, 59.6, 3599, 3661, -1].map(duration), ["0:00", "1:00", "59:59", "1:01:01", "0:00"]);
});

Deno.test("ProgressView writes one plain line for each unit of work and message when there is no terminal", () => {
  const written: string[] = [];
  {
    using view = new ProgressView({ live: false, write: (text) => void written.push(text) });
    const progress = new Progress((read) => view.update(read));
    progress.begin("evaluate base", 2);
    progress.judged(true);
    progress.judged(false);
    progress.begin("open the model", 0);
    progress.say("loading");
    progress.rollout("r0", "s").doing("model");
    view.line("a line of the log");
  }
  assert.deepEqual(written, [
    "0:00 evaluate base · 0/2\n",
    "0:00 open the model\n",
    "0:00 open the model · loading\n",
    "0:00 a line of the log\n",
  ]);
});

Deno.test("ProgressView keeps its block below the log on a terminal, and leaves only the log behind", () => {
  const left = onScreen((progress, view, screen) => {
    progress.begin("evaluate base", 20);
    progress.judged(true);
    const rollouts = Array.from({ length: 15 }, (_, i) => progress.rollout(`r${i}`, `task-${i}`));
    rollouts[0]!.doing("model");
    view.line("first");
    assert.deepEqual(screen.lines.slice(0, 3).map((line) => line.slice(0, 45)), [
      "first",
      "0:00 evaluate base · 1/20 · 100 % success",
      "  task-0              model        turn 1    ",
    ]);
    assert.equal(screen.lines.length, 13);
    assert.equal(screen.lines.at(-1), "  and 5 more in flight");
    for (const one of rollouts) one.end();
    view.line("second");
    assert.deepEqual(screen.lines, ["first", "second", "0:00 evaluate base · 1/20 · 100 % success"]);
  });
  assert.deepEqual(left, ["first", "second"]);
});

Deno.test("ProgressView sends a terminal nothing that a server, a tool or a scenario wrote to control it", async () => {
  const evil = "\x1b[2J\x1b[31m\r\x07\u202emove";
  const tool = { server: `s${evil}`, name: evil, model_name: "evil" };
  const left = await new Promise<string[]>((resolve) =>
    resolve(onScreen((progress, view, screen) => {
      progress.begin(`evaluate ${evil}`, 2);
      progress.judged({ invalid: evil });
      const tracked = progress.rollout("r0", `scenario ${evil}`);
      const environment = tracked.watched({
        id: "e",
        workdir: null,
        tools: [{ ...tool, description: "", input_schema: {}, annotations: {}, tokens: 1 }],
        call: () => new Promise(() => {}),
        observe: () => new Promise(() => {}),
      });
      void environment.call("evil", {});
      view.line(`it said ${evil}`);
      assert.equal(screen.lines.length, 3);
      assert.ok(screen.lines[2]!.includes("\\u{1b}[2J"), screen.lines[2]);
      assert.ok(screen.lines.every((line) => line.length < 60));
    }))
  );
  assert.deepEqual(left, ["it said \\u{1b}[2J\\u{1b}[31m\\r\\u{7}\\u{202e}move"]);
});

Deno.test("Progress tells how many tokens come per second", () => {
  const progress = new Progress();
  progress.begin("rl", 1);
  progress.rollout("r1", "s1");
  progress.tokens(500);
  const { tokens_per_second } = progress.snapshot();
  assert.ok(tokens_per_second! > 0 && tokens_per_second! <= 500, String(tokens_per_second));
});
