/**
 * What rewards and statistics cost for 100 000 rollouts: shaping them, their advantages, reading evaluated ones back from
 * a store, and the verdict over them. Wanted: under 5 s altogether. Run as a program: `deno run -A tests/bench/rewards_cost.ts`;
 * it prints one JSON object per figure.
 * @module
 */
import process from "node:process";
import { join } from "node:path";
import { Bus } from "../../pipeline/bus.ts";
import { stream } from "../../pipeline/common/random.ts";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import type { Judgement, Trajectory } from "../../pipeline/events.ts";
import type { Roles } from "../../pipeline/plugin.ts";
import type { Judged } from "../../pipeline/run/context.ts";
import { stepBatch } from "../../pipeline/run/online/step_batch.ts";
import { Store } from "../../pipeline/store/store.ts";
import { fakeContext, fakeToolCall, fakeTrajectory, fakeTurn } from "../../pipeline/testing.ts";
import { makeVerdict } from "../../pipeline/verdict/mod.ts";
import lexicographic from "../../plugins/reward_shaper/lexicographic.ts";
import weighted from "../../plugins/reward_shaper/weighted.ts";

const ROLLOUTS = 100_000;
const GROUP = 8;
const POLICIES = ["base", "warm_start", "tuned"];
const WANTED_SECS = 5;

const WEIGHTED = {
  weights: { state: 1, "calls.near": 0.3, rubric: 0.5 },
  per: { turn: -0.01, error: -0.05, recovery: 0.02 },
  curriculum: { weights: { "calls.invalid": { 1: 0, 20: -0.1 } } },
  clip: [-1, 1],
  veto: ["state"],
};
const LEXICOGRAPHIC = { criteria: ["state", { judge: "calls.near", tolerance: 0.1 }, { per: "turn", range: [0, 8] }] };
const TRAIN = { group_size: GROUP, groups_per_step: 50, steps: ROLLOUTS / GROUP / 50 };
const config = pipeline_schema.parse({
  name: "bench",
  stages: [{ use: "x" }],
  train: TRAIN,
  evaluate: { policies: POLICIES },
});

const random = stream(7, "bench");
let total = 0;

async function timed<T>(name: string, work: () => T | Promise<T>): Promise<T> {
  const [began, cpu] = [performance.now(), process.cpuUsage()];
  const result = await work();
  const secs = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  total += secs;
  console.log(
    JSON.stringify({ name, rollouts: ROLLOUTS, secs: rounded(secs), cpu_secs: rounded((user + system) / 1e6) }),
  );
  return result;
}

function rounded(secs: number): number {
  return Number(secs.toFixed(3));
}

function trajectory(index: number): Trajectory {
  const ids = {
    prompt_token_ids: Int32Array.of(1, 2, 3),
    output_token_ids: Int32Array.of(4, 5),
    logprobs: Float32Array.of(-1, -2),
  };
  const turns = Array.from({ length: 2 + index % 3 }, (_, at) => fakeTurn({ index: at, ...ids }));
  const call = (at: number) => ({ ...fakeToolCall("read", {}, random() < 0.1 ? "tool_error" : "ok"), turn: at });
  const group_id = `g${Math.floor(index / GROUP)}`;
  const rollout_id = `${group_id}-r${index % GROUP}`;
  return fakeTrajectory({
    rollout_id,
    group_id,
    step: 1 + index % 40,
    turns,
    tool_calls: turns.map((_, at) => call(at)),
  });
}

function judgements(): Record<string, Judgement> {
  const score = (score: number, parts?: Record<string, number>) => ({ score, reason: "", ...(parts && { parts }) });
  return {
    state: random() < 0.02 ? { invalid: "not observed" } : score(random() < 0.4 ? 1 : 0),
    calls: score(random(), { near: random(), invalid: Math.floor(random() * 2) }),
    rubric: random() < 0.1 ? { abstain: "no answer" } : score(random()),
  };
}

/** Rewards of all rollouts, in order. */
async function shaped(shaper: Roles["reward-shaper"], rollouts: Trajectory[], made: Record<string, Judgement>[]) {
  const judged: Judged[] = [];
  for (const [i, trajectory] of rollouts.entries()) {
    judged.push({ trajectory, reward: await shaper.shape(trajectory, made[i]!), success: "score" in made[i]!.state! });
  }
  return judged;
}

function trained(judged: Judged[]): number {
  const groups = Array.from({ length: ROLLOUTS / GROUP }, (_, i) => judged.slice(i * GROUP, (i + 1) * GROUP));
  let rows = 0;
  for (let step = 0; step < TRAIN.steps; step++) {
    const own = groups.slice(step * TRAIN.groups_per_step, (step + 1) * TRAIN.groups_per_step);
    rows += stepBatch({ config }, own).rows.length;
  }
  return rows;
}

/** Writes evaluations of every policy as a run records them; not timed. */
async function recorded(store: Store, run_id: string): Promise<void> {
  const bus = new Bus(run_id, store);
  const each = Math.ceil(ROLLOUTS / POLICIES.length);
  await bus.publish("bench", "run.started", { name: "bench", seed: 7, hone_version: "0", resumed: false });
  for (const [version, policy] of POLICIES.entries()) {
    for (let i = 0; i < each; i++) {
      const [scenario_id, at] = [`s${Math.floor(i / 4)}`, i % 4];
      const rollout_id = `${policy}-${scenario_id}-${at}`;
      const named = { rollout_id, group_id: `${policy}-${scenario_id}`, scenario_id };
      const of = { purpose: "evaluation", split: "heldout", temperature: 1, try: at } as const;
      const ref = { ...fakeRef(), ...named, ...of, policy, policy_version: version };
      const success = random() < 0.3 + 0.2 * version;
      void bus.publish("bench", "rollout.requested", ref);
      void bus.publish("bench", "turn.completed", { rollout_id, turn: fakeTurn() });
      void bus.publish("bench", "tool.called", { rollout_id, call: fakeToolCall("read") });
      const outcome = { end: "answered", answer: "" } as const;
      void bus.publish("bench", "rollout.completed", { ...ref, outcome, seconds: random() });
      const reward = { value: random(), parts: { state: 1 } };
      void bus.publish("bench", "reward.shaped", { rollout_id, group_id: ref.group_id, success, ...reward });
      if (i % 2000 === 0) await store.flush();
    }
  }
  await store.flush();
}

function fakeRef() {
  const { turns: _, tool_calls: __, outcome: ___, observations: ____, seconds: _____, ...ref } = fakeTrajectory();
  return ref;
}

if (import.meta.main) {
  const rollouts = Array.from({ length: ROLLOUTS }, (_, i) => trajectory(i));
  const made = rollouts.map(() => judgements());
  const [first, second] = [
    await weighted.create(fakeContext(weighted.config.parse(WEIGHTED))) as Roles["reward-shaper"],
    await lexicographic.create(fakeContext(lexicographic.config.parse(LEXICOGRAPHIC))) as Roles["reward-shaper"],
  ];
  const judged = await timed("reward-shaper/weighted", () => shaped(first, rollouts, made));
  await timed("reward-shaper/lexicographic", () => shaped(second, rollouts, made));
  await timed("advantages, rows and metrics", () => trained(judged));
  const dir = await Deno.makeTempDir();
  try {
    await using store = await Store.open(join(dir, "run.duckdb"), { run_id: "bench", mode: "create" });
    await recorded(store, "bench");
    await timed("verdict, read from the store", () => makeVerdict({ store, config }));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
  console.log(JSON.stringify({ name: "altogether", secs: rounded(total), wanted_secs: WANTED_SECS }));
}
