import assert from "node:assert/strict";
import { follow } from "./watch.ts";

Deno.test("follow() shows on a terminal what the run's process says of its progress, and stops asking when told", async () => {
  let asked = 0;
  const shown = Promise.withResolvers<string>();
  const rollouts = [
    { rollout: "r0", scenario: "rename-1", doing: "tool", server: "files", tool: "move_file", turns: 1, seconds: 2 },
  ];
  const status = () => {
    asked++;
    return Promise.resolve({ rung: "rl", step: 3, steps: 8, running: 1, rollouts, elapsed_secs: 65, eta_secs: 20 });
  };
  {
    using view = follow({ status }, (text) => text.includes("move_file") && shown.resolve(text));
    const lines = (await shown.promise).split("\n");
    assert.match(lines[0]!, /1:05 rl 3\/8 · 0:20 left$/);
    assert.match(lines[1]!, /^ {2}rename-1 +files +move_file +2\.0 s$/);
    view.line("an event");
  }
  const before = asked;
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.equal(asked, before);
});

Deno.test("follow() goes on when the run does not answer once", async () => {
  const shown = Promise.withResolvers<void>();
  let asked = 0;
  const status = () => ++asked === 1 ? Promise.reject(new Error("gone")) : Promise.resolve({ rung: "export" });
  using _view = follow({ status }, (text) => text.includes("export") && shown.resolve());
  await shown.promise;
  assert.ok(asked >= 2);
});
