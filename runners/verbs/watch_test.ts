import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Person } from "../cli/person.ts";
import { recordingTerminal } from "../../tests/fixtures/recording_terminal.ts";
import watch, { readings } from "./watch.ts";

const { signal } = new AbortController();

Deno.test("readings() shows on a terminal what the run's process says of its progress, and stops asking when told", async () => {
  let asked = 0;
  const shown = Promise.withResolvers<string>();
  const rollouts = [
    { rollout: "r0", scenario: "rename-1", doing: "tool", server: "files", tool: "move_file", turns: 1, seconds: 2 },
  ];
  const status = () => {
    asked++;
    return Promise.resolve({ rung: "rl", step: 3, steps: 8, running: 1, rollouts, elapsed_secs: 65, eta_secs: 20 });
  };
  const { terminal } = recordingTerminal({
    live: true,
    on_drawn: (text) => text.includes("move_file") && asked > 1 && shown.resolve(text),
  });
  {
    using person = new Person(terminal, watch, "text", signal);
    person.progress(await readings({ status }));
    const lines = (await shown.promise).split("\n");
    assert.match(lines[0]!, /1:05 rl 3\/8 · 0:20 left$/);
    assert.match(lines[1]!, /^ {2}rename-1 +files +move_file +2\.0 s$/);
  }
  const before = asked;
  await sleep(600);
  assert.equal(asked, before);
});

Deno.test("readings() goes on when the run does not answer once", async () => {
  let asked = 0;
  const status = () => ++asked === 1 ? Promise.reject(new Error("gone")) : Promise.resolve({ rung: "export" });
  const read = await readings({ status });
  assert.equal(read().rung, "start");
  while (read().rung !== "export") await sleep(50);
  assert.equal(asked, 2);
});
