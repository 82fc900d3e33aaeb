import assert from "node:assert/strict";
import { type SignalFacts, signalHealth, type SignalStep } from "./signal_health.ts";

const FINE: SignalStep = {
  step: 1,
  groups: 10,
  equal_groups: 1,
  small_groups: 0,
  rollouts: 80,
  invalid: 0,
  successes: 40,
  truncated: 1,
  capped: 1,
  invalid_calls: 1,
  call_turns: 100,
  call_sequences: 3,
  staleness: 0,
  mismatch_abs: 1e-6,
  kl_base: 0.5,
};

function check(step: Partial<SignalStep>, facts: Partial<SignalFacts> = {}) {
  const steps = [{ ...FINE, ...step }];
  return signalHealth({ steps, invalid: [], unseen: null, max_staleness: 0, ...facts });
}

/** What is not `ok`, in words. */
function problems(step: Partial<SignalStep>, facts: Partial<SignalFacts> = {}) {
  return check(step, facts).filter(({ state }) => state !== "ok").map((
    { name, state, figure },
  ) => [name, state, figure]);
}

Deno.test("signalHealth() finds nothing in a healthy run, and asks for nothing", () => {
  const checks = check({}, { unseen: { mean: 0.45, low: 0.35, high: 0.55, n: 96 } });
  assert.deepEqual(checks.map(({ name }) => name), [
    "Groups without a signal",
    "Invalid rewards",
    "Rollouts that were cut off",
    "Replies at the token limit",
    "Invalid calls, last 1 step",
    "Different call sequences per group",
    "Mismatch of sampler and trainer",
    "Staleness",
    "Success on training scenarios against unseen ones",
  ]);
  assert.deepEqual(checks.filter(({ state, action }) => state !== "ok" || action !== ""), []);
});

Deno.test("signalHealth() names each planted condition alone, with its figure and an action", () => {
  const planted: [Partial<SignalStep>, unknown[]][] = [
    [{ equal_groups: 4 }, ["Groups without a signal", "watch", "4 of 10 groups (40 %)"]],
    [{ equal_groups: 3, small_groups: 3 }, ["Groups without a signal", "act", "6 of 10 groups (60 %)"]],
    [{ invalid: 20 }, ["Invalid rewards", "act", "20 of 80 rollouts (25 %)"]],
    [{ truncated: 40 }, ["Rollouts that were cut off", "act", "40 of 80 rollouts (50 %)"]],
    [{ capped: 8 }, ["Replies at the token limit", "watch", "8 of 80 rollouts (10 %)"]],
    [{ invalid_calls: 50 }, ["Invalid calls, last 1 step", "act", "50 of 100 calling turns (50 %)"]],
    [{ call_sequences: 1 }, ["Different call sequences per group", "act", "1 in the last steps"]],
    [{ mismatch_abs: 0.3 }, [
      "Mismatch of sampler and trainer",
      "act",
      "0.3 nats per token; KL from the base model 0.5",
    ]],
    [{ staleness: 2 }, ["Staleness", "act", "at most 2 policy versions"]],
  ];
  for (const [step, wanted] of planted) {
    assert.deepEqual(problems(step), [wanted]);
    assert.notEqual(check(step).find(({ state }) => state !== "ok")!.action, "");
  }
});

Deno.test("signalHealth() tells too easy scenarios from too hard ones", () => {
  const action = (successes: number) => check({ equal_groups: 6, successes })[0]!.action;
  assert.match(action(80), /too easy/);
  assert.match(action(0), /too hard/);
});

Deno.test("signalHealth() accepts equal calls where nearly all attempts succeed", () => {
  assert.deepEqual(problems({ call_sequences: 1, successes: 78 }), []);
});

Deno.test("signalHealth() names the first cause of invalid rewards, and the judge that failed", () => {
  const invalid: SignalFacts["invalid"] = [
    {
      what: "judge",
      stage: "rubric",
      purpose: "train",
      rollouts: 30,
      of_rollouts: 80,
      example: "no JSON in the reply",
    },
    { what: "judge", stage: "rubric", purpose: "evaluation", rollouts: 1, of_rollouts: 20, example: "timeout" },
    { what: "reward", stage: null, purpose: "train", rollouts: 30, of_rollouts: 80, example: "rubric: no JSON" },
  ];
  const found = check({ invalid: 30 }, { invalid }).filter(({ state }) => state === "act");
  assert.deepEqual(found.map(({ name, figure, meaning }) => [name, figure, meaning]), [
    [
      "Invalid rewards",
      "30 of 80 rollouts (38 %)",
      "These rollouts could not be judged and train nothing; most often: rubric: no JSON.",
    ],
    [
      "Failures of judge rubric",
      "31 of 100 judgements (31 %)",
      "It could not judge these rollouts; most often: no JSON in the reply.",
    ],
  ]);
});

Deno.test("signalHealth() calls it overfit only where training is above the interval on unseen scenarios", () => {
  const unseen = (mean: number, high: number) => ({ unseen: { mean, low: 0, high, n: 96 } });
  assert.deepEqual(problems({ successes: 72 }, unseen(0.5, 0.6)), [
    [
      "Success on training scenarios against unseen ones",
      "act",
      "90 % in the last 1 step, 50 % on unseen scenarios",
    ],
  ]);
  assert.deepEqual(problems({ successes: 72 }, unseen(0.5, 0.9)), []);
});

Deno.test("signalHealth() of a run without RL has only what its judges did", () => {
  assert.deepEqual(signalHealth({ steps: [], invalid: [], unseen: null, max_staleness: 0 }), []);
});
