import assert from "node:assert/strict";
import { rollout } from "../tests/fixtures/evaluated_rollouts_of.ts";
import { gainsApart, type LearningRun, learningTable, pool, replaceBetween } from "./learning_table.ts";

function run(arm: string, seed: number, solved: Record<string, number>): LearningRun {
  const rollouts = Object.entries(solved).flatMap(([policy, count]) =>
    Array.from({ length: 64 }, (_, i) =>
      rollout(policy, i, {
        rollout_id: `${arm}-${seed}-${policy}-${i}`,
        success: i < count,
        reward: i < count ? 1 : 0,
        prompt_tokens: 10,
        output_tokens: 5,
      }))
  );
  return { arm, seed, minutes: 25, rollouts };
}

const RUNS = [
  run("rewards as they are", 7, { base: 0, warm_start: 28, tuned: 40 }),
  run("rewards as they are", 8, { base: 0, warm_start: 30, tuned: 38 }),
  run("rewards as they are", 9, { base: 1, warm_start: 26, tuned: 41 }),
  run("rewards shuffled", 7, { base: 0, warm_start: 28, tuned: 27 }),
];

Deno.test("pool() counts the seeds of a scenario as one cluster when it pools runs", () => {
  const verdict = pool(RUNS.slice(0, 3));
  assert.equal(verdict.policies.tuned!.success.n, 192);
  assert.equal(verdict.policies.tuned!.success.mean, 119 / 192);
  const added = verdict.comparisons.find((c) =>
    c.policy === "tuned" && c.against === "warm_start" && c.metric === "success"
  )!;
  assert.equal(added.mean, 35 / 192);
  const single = pool(RUNS.slice(0, 1)).comparisons.find((c) => c.policy === "tuned" && c.against === "warm_start")!;
  assert.ok(added.low > single.low - 0.05 && added.high - added.low > 0.1, JSON.stringify(added));
});

Deno.test("learningTable() has a row per run and a pool per arm when two arms ran", () => {
  const table = learningTable(RUNS);
  assert.match(
    table,
    /\| rewards as they are, seed 8 \| greedy \| 0\.00 \(0\.00 to 0\.06\) \| 0\.47 \(.*\) \| 0\.59 \(/,
  );
  assert.match(table, /\| \*\*rewards as they are, 3 seeds pooled\*\* \| greedy \|/);
  assert.match(table, /\| rewards shuffled, seed 7 \|.*\| -0\.02 \(/);
  assert.doesNotMatch(table, /1 seeds/);
  assert.match(table, /- rewards shuffled, pooled: .*RL did not measurably improve on the warm start/);
});

Deno.test("gainsApart() says by seed how far the gains of the second arm lie from those of the first", () => {
  const runs = [
    run("trainer/mlx", 7, { base: 0, warm_start: 28, tuned: 32 }),
    run("trainer/mlx", 8, { base: 0, warm_start: 28, tuned: 32 }),
    run("trainer/lightning", 7, { base: 0, warm_start: 28, tuned: 40 }),
    run("trainer/lightning", 8, { base: 16, warm_start: 28, tuned: 32 }),
    run("trainer/lightning", 9, { base: 0, warm_start: 28, tuned: 32 }),
  ];
  assert.equal(
    gainsApart(runs),
    "Gain (tuned − base) of trainer/lightning less that of trainer/mlx:\n\n" +
      "- greedy: seed 7 +0.13, seed 8 -0.25; mean -0.06 (wanted: within ±0.15).",
  );
  assert.equal(gainsApart(runs.slice(0, 2)), "The second trainer has no finished run to compare.");
});

Deno.test("replaceBetween() replaces what stands between the marks, and adds them when they are missing", () => {
  const once = replaceBetween("# Benchmarks\n", "bench:learning", "one");
  assert.equal(once, "# Benchmarks\n\n<!-- bench:learning -->\none\n<!-- /bench:learning -->\n");
  assert.equal(replaceBetween(once + "after\n", "bench:learning", "two"), once.replace("one", "two") + "after\n");
});
