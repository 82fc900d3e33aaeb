import assert from "node:assert/strict";
import { join } from "node:path";
import { Bus } from "../bus.ts";
import { HoneError } from "../diagnostics/mod.ts";
import type { Envelope, EventMap, RolloutRef, Trajectory } from "../events.ts";
import { Store } from "./store.ts";
import { completed, storedGroup, storedRewards, trajectories, unfinished } from "./recorded.ts";

const ref = (rollout_id: string, more: Partial<RolloutRef> = {}): RolloutRef => ({
  rollout_id,
  group_id: "g1",
  scenario_id: "s1",
  purpose: "train",
  split: "train",
  temperature: 1,
  try: 0,
  policy: "base",
  policy_version: 0,
  step: 1,
  seed: 3,
  attempt: 1,
  ...more,
});

const sample: Trajectory = {
  ...ref("r1"),
  turns: [
    {
      type: "turn",
      index: 0,
      input: [{ role: "user", content: 'Write "ü"' }],
      text: "{}",
      tool_calls: [{ id: "c0", name: "write", arguments: { a: [1, null] } }],
      prompt_token_ids: Int32Array.of(1, 2, 3),
      output_token_ids: Int32Array.of(4, 5),
      logprobs: Float32Array.of(-0.5, -1.25),
      finish_reason: "stop",
      prompt_tokens: 3,
      output_tokens: 2,
      seconds: 0.5,
    },
    {
      type: "turn",
      index: 1,
      input: [{ role: "tool", content: "ok" }],
      shortened: [{ message: 3, from: 400, to: 231 }],
      text: "Done.",
      reasoning: "it is done",
      tool_calls: [],
      invalid_call: "no such tool",
      prompt_token_ids: Int32Array.of(1, 2, 3, 4, 5, 9),
      output_token_ids: Int32Array.of(6),
      logprobs: Float32Array.of(-0.125),
      finish_reason: "length",
      prompt_tokens: 6,
      output_tokens: 1,
      seconds: 0.25,
    },
  ],
  tool_calls: [{
    type: "tool_call",
    turn: 0,
    index: 0,
    server: "files",
    tool: "write",
    arguments: { a: [1, null] },
    outcome: "ok",
    text: "ok",
    result: { content: [{ type: "text", text: "ok" }] },
    truncated: false,
    seconds: 0.01,
  }],
  outcome: { end: "length", answer: null, cause: "cut" },
  observations: { state: { files: { "a.txt": "x" } } },
  seconds: 1.5,
};

function record(bus: Bus, trajectory: Trajectory) {
  const { rollout_id, turns, tool_calls, outcome, observations, seconds, ...rest } = trajectory;
  const refs = { rollout_id, ...rest };
  bus.publish("t", "rollout.requested", refs);
  for (const turn of turns) bus.publish("t", "turn.completed", { rollout_id, turn });
  for (const call of tool_calls) bus.publish("t", "tool.called", { rollout_id, call });
  for (const [judge, observation] of Object.entries(observations)) {
    bus.publish("t", "observation.made", { rollout_id, judge, observation });
  }
  return bus.publish("t", "rollout.completed", { ...refs, outcome, seconds });
}

async function folder() {
  const dir = await Deno.makeTempDir();
  return { path: join(dir, "run.duckdb"), [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

Deno.test("Store reads a trajectory back exactly when it was recorded through the bus", async () => {
  await using dir = await folder();
  await using store = await Store.open(dir.path, { run_id: "r", mode: "create" });
  await record(new Bus("r", store), sample);
  assert.deepEqual(await trajectories(store, ["r1"]), [sample]);
});

Deno.test("storedGroup() gives the latest attempt and its rewards when a group was tried twice", async () => {
  await using dir = await folder();
  await using store = await Store.open(dir.path, { run_id: "r", mode: "create" });
  const bus = new Bus("r", store);
  bus.publish("t", "rollout.requested", ref("r1"));
  await record(bus, { ...sample, ...ref("r1.a2", { attempt: 2 }) });
  const reward: EventMap["reward.shaped"] = {
    rollout_id: "r1.a2",
    group_id: "g1",
    success: true,
    value: 1,
    parts: { state: 1 },
  };
  await bus.publish("t", "reward.shaped", reward);
  const group = await storedGroup(store, "g1");
  assert.equal(group?.attempt, 2);
  assert.deepEqual(group?.trajectories.map(({ rollout_id }) => rollout_id), ["r1.a2"]);
  assert.deepEqual((await storedRewards(store, ["r1.a2"])).get("r1.a2"), {
    success: true,
    reward: { value: 1, parts: { state: 1 } },
  });
  assert.deepEqual(await unfinished(store), ["r1"]);
  assert.equal(await storedGroup(store, "never"), null);
});

Deno.test("completed() says where training stands when steps, policies and evaluations are recorded", async () => {
  await using dir = await folder();
  await using store = await Store.open(dir.path, { run_id: "r", mode: "create" });
  const bus = new Bus("r", store);
  const metrics = { rows: 8 };
  const one = { metrics, seconds: 1, staleness: 0 };
  bus.publish("t", "train.stepped", { step: 1, kind: "supervised", loss: 2, ...one, checkpoint: "/c/1" });
  bus.publish("t", "train.stepped", { step: 2, kind: "rl", loss: 1, ...one, checkpoint: "/c/2" });
  bus.publish("t", "policy.published", { name: "warm_start", version: 1, model: "m", checkpoint: "/c/1" });
  const success = { mean: 0.5, low: 0.2, high: 0.8, n: 10 };
  const measured = { policy: "base", policy_version: 0, split: "heldout", success, seconds: 3 } as const;
  bus.publish("t", "evaluation.completed", { ...measured, temperature: 0 });
  const done = await completed(store);
  assert.equal(done.step, 2);
  assert.equal(done.checkpoint, "/c/2");
  assert.equal(done.supervised_steps, 1);
  assert.deepEqual(done.policies.get("warm_start"), { version: 1, checkpoint: "/c/1" });
  assert.deepEqual([...done.evaluations], [["base/heldout/0", { ...measured, temperature: 0 }]]);
  bus.publish("t", "evaluation.completed", { ...measured, temperature: 1 });
  bus.publish("t", "evaluation.completed", { ...measured, policy: "tuned", temperature: 0, seconds: 5 });
  assert.deepEqual([...(await completed(store)).evaluation_secs], [["heldout", 6]]);
  // Evaluations between the steps of RL are no part of what the verdict will take.
  bus.publish("t", "evaluation.completed", {
    ...measured,
    policy: "step-1",
    split: "validation",
    temperature: 0,
    seconds: 9,
  });
  bus.publish("t", "evaluation.completed", {
    ...measured,
    policy: "tuned",
    split: "validation",
    temperature: 0,
    seconds: 2,
  });
  const secs = (await completed(store)).evaluation_secs;
  assert.deepEqual([...secs].sort(), [["heldout", 6], ["validation", 2]]);
});

Deno.test("completed() adds up what the starts of a run took, the time between them left out", async () => {
  await using dir = await folder();
  await using store = await Store.open(dir.path, { run_id: "r", mode: "create" });
  const started = { name: "n", seed: 1, hone_version: "0", resumed: false };
  const metric = { name: "x", value: 1, step: 0 };
  const events = [
    { at: 1_000, type: "run.started", data: started },
    { at: 8_500, type: "metric.recorded", data: metric },
    { at: 500_000, type: "run.started", data: started },
    { at: 502_000, type: "metric.recorded", data: metric },
  ] as const;
  for (const [index, event] of events.entries()) {
    await store.append({ run_id: "r", seq: index + 1, source: "t", ...event } as Envelope);
  }
  assert.equal((await completed(store)).spent.seconds, 9.5);
});

Deno.test("Store goes on numbering events without a gap when it is opened again", async () => {
  await using dir = await folder();
  {
    await using store = await Store.open(dir.path, { run_id: "r", mode: "create" });
    const bus = new Bus("r", store, { first_seq: store.next_seq });
    for (let i = 0; i < 5; i++) bus.publish("t", "metric.recorded", { name: "x", value: i, step: i });
  }
  await using store = await Store.open(dir.path, { run_id: "r", mode: "resume" });
  new Bus("r", store, { first_seq: store.next_seq }).publish("t", "metric.recorded", { name: "x", value: 5, step: 5 });
  const rows = await store.query("SELECT seq FROM events ORDER BY seq");
  assert.deepEqual(rows.map(({ seq }) => seq), [1, 2, 3, 4, 5, 6]);
});

Deno.test("Store.open() refuses a file from a newer hone", async () => {
  await using dir = await folder();
  {
    await using store = await Store.open(dir.path, { run_id: "r", mode: "create" });
    await store.query("UPDATE meta SET schema_version = 99");
  }
  await assert.rejects(Store.open(dir.path, { run_id: "r", mode: "resume" }), (error: HoneError) => {
    assert.equal(error.code, "RUN_NEWER");
    assert.equal(
      error.message,
      `Cannot read ${
        JSON.stringify(dir.path)
      }: it was written by a newer version of hone (schema 99, this version supports 2)`,
    );
    return true;
  });
});

Deno.test("Store keeps every acknowledged record when its process is killed", async () => {
  await using dir = await folder();
  const script = `
    import { Bus } from ${JSON.stringify(import.meta.resolve("../bus.ts"))};
    import { Store } from ${JSON.stringify(import.meta.resolve("./store.ts"))};
    const store = await Store.open(Deno.args[0], { run_id: "r", mode: "create" });
    const bus = new Bus("r", store);
    for (let i = 0;; i++) {
      const judgement = { rollout_id: "r" + i, group_id: "g", judge: "j", score: 1, reason: "x".repeat(200) };
      bus.publish("t", "judgement.made", judgement).then(() => console.log(i + 1));
      if (i % 50 === 0) await new Promise((done) => setTimeout(done, 1));
    }`;
  const file = dir.path + ".ts";
  await Deno.writeTextFile(file, script);
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, file, dir.path],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let seen = "";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    seen += chunk;
    if (seen.length > 20_000) {
      child.kill("SIGKILL");
      break;
    }
  }
  await child.status;
  const acknowledged = seen.trimEnd().split("\n").slice(0, -1).map(Number);
  await using store = await Store.open(dir.path, { run_id: "r", mode: "resume" });
  const kept = new Set((await store.query("SELECT seq FROM events")).map(({ seq }) => seq));
  assert.ok(acknowledged.length > 1000);
  assert.deepEqual(acknowledged.filter((seq) => !kept.has(seq)), []);
});
