import assert from "node:assert/strict";
import { CONFIG, rollout, solved } from "../../tests/fixtures/evaluated_rollouts_of.ts";
import type { EvaluatedRollout } from "./verdict_types.ts";
import { verdictOver } from "./verdict.ts";

Deno.test("verdictOver() says the gain and what RL added when both intervals lie above zero", () => {
  const verdict = verdictOver(
    [...solved("base", 0, 0), ...solved("warm_start", 0, 29), ...solved("tuned", 0, 41)],
    CONFIG,
  );
  assert.equal(
    verdict.sentence,
    "Tuned solves 41 of 64 held-out scenarios, base 0: +0.64 (95 % interval 0.52 to 0.75). " +
      "The warm start alone gives +0.45; RL adds +0.19 (0.11 to 0.30).",
  );
  assert.deepEqual(Object.keys(verdict.policies), ["base", "warm_start", "tuned"]);
  assert.equal(verdict.policies.tuned!.success.n, 64);
  assert.equal(verdict.difference!.policy, "tuned");
  assert.equal(verdict.difference!.against, "base");
});

Deno.test("verdictOver() says that there is no measurable gain when the interval holds zero", () => {
  const verdict = verdictOver([...solved("base", 0, 10), ...solved("tuned", 4, 17)], CONFIG);
  assert.equal(
    verdict.sentence,
    "No measurable gain: tuned solves 13 of 64 held-out scenarios, base 10: +0.05 (95 % interval -0.06 to 0.16). " +
      "More scenarios needed: about 610 would show a difference of this size. " +
      "Worse on these 4 scenarios, which base solves and tuned does not: s0, s1, s2, and 1 more.",
  );
  assert.equal(verdict.outcome, "more_scenarios_needed");
  assert.deepEqual(verdict.needed_scenarios, { scenarios: 612, discordant: 11 / 64, power: 0.8 });
});

Deno.test("verdictOver() says that RL did not improve on the warm start when that interval holds zero", () => {
  const verdict = verdictOver(
    [...solved("base", 0, 0), ...solved("warm_start", 0, 28), ...solved("tuned", 2, 31)],
    CONFIG,
  );
  assert.match(
    verdict.sentence,
    /The warm start alone gives \+0\.44; RL did not measurably improve on the warm start: \+0\.02 \(-0\.0\d to 0\.1\d\)\.$/,
  );
});

Deno.test("verdictOver() says so when RL took away what the warm start gave", () => {
  const verdict = verdictOver(
    [...solved("base", 0, 0), ...solved("warm_start", 0, 40), ...solved("tuned", 0, 20)],
    CONFIG,
  );
  assert.match(verdict.sentence, /RL took away 0\.31 \(-0\.4\d to -0\.2\d\): use the warm start\.$/);
});

Deno.test("verdictOver() says that training made it worse when the interval lies below zero", () => {
  const verdict = verdictOver([...solved("base", 0, 40), ...solved("tuned", 0, 20)], CONFIG);
  assert.match(
    verdict.sentence,
    /^Training made it worse: tuned solves 20 of 64 .* Do not use this adapter\. Worse on these 20 scenarios, /,
  );
  assert.equal(verdict.outcome, "worse");
});

Deno.test("verdictOver() says do not train when base is already good and tuned is not measurably better", () => {
  const verdict = verdictOver([...solved("base", 0, 62), ...solved("tuned", 0, 63)], CONFIG);
  assert.equal(
    verdict.sentence,
    "Do not train: prompting is enough, base solves 62 of 64 held-out scenarios; " +
      "tuned solves 63 of 64 held-out scenarios, base 62: +0.02 (95 % interval -0.04 to 0.08).",
  );
});

Deno.test("verdictOver() counts invalid rollouts by cause and leaves their pairs out", () => {
  const rollouts = [...solved("base", 0, 0), ...solved("tuned", 0, 41)];
  rollouts[70] = { ...rollouts[70]!, success: false, reward: null, invalid: "server died", end: "server_failed" };
  rollouts[3] = { ...rollouts[3]!, reward: null, invalid: "timed out", end: "timeout" };
  const verdict = verdictOver(rollouts, CONFIG);
  assert.deepEqual(verdict.policies.tuned!.rollouts, { total: 64, counted: 63, excluded: { "server died": 1 } });
  assert.equal(verdict.policies.tuned!.success.n, 63);
  assert.equal(verdict.difference!.n, 62);
  assert.match(
    verdict.sentence,
    / 2 of 128 rollouts could not be judged and are left out \(timed out: 1; server died: 1\)\.$/,
  );
  assert.ok(
    verdict.notes.includes(
      "1 of 64 rollouts of tuned are left out (server died: 1). If all of them counted as failures, its greedy success would be 40 of 64.",
    ),
  );
  assert.ok(verdict.notes.includes("Not evaluated: the warm start."));
});

Deno.test("verdictOver() says that nothing can be said when every rollout was invalid", () => {
  const invalid = { invalid: "server died", reward: null };
  const verdict = verdictOver([...solved("base", 0, 0, 4, invalid), ...solved("tuned", 0, 0, 4, invalid)], CONFIG);
  assert.equal(
    verdict.sentence,
    "Nothing can be said: not one held-out scenario was judged. " +
      "8 of 8 rollouts could not be judged and are left out (server died: 8).",
  );
  assert.equal(JSON.stringify(verdict).includes('null,"high"'), false);
});

Deno.test("verdictOver() has no difference when one policy was evaluated, and none at all when nothing was", () => {
  const one = verdictOver(solved("base", 0, 12), CONFIG);
  assert.equal(one.difference, null);
  assert.match(one.sentence, /^Base solves 12 of 64 held-out scenarios: 0\.19 .* nothing to compare\.$/);
  assert.match(verdictOver([], CONFIG).sentence, /^Nothing can be said/);
});

Deno.test("verdictOver() keeps greedy and sampled success apart when both were evaluated", () => {
  const both = ["base", "tuned"].flatMap((policy) => [
    ...solved(policy, 0, policy === "tuned" ? 11 : 0),
    ...solved(policy, 0, policy === "tuned" ? 16 : 2, 64, { sampling: "sampled", rollout_id: "x" }),
  ]);
  const verdict = verdictOver(both, { ...CONFIG, evaluate: { ...CONFIG.evaluate, sampling: ["greedy", "sampled"] } });
  assert.equal(verdict.policies.tuned!.success.mean, 11 / 64);
  assert.equal(verdict.policies.tuned!.greedy_success!.mean, 11 / 64);
  assert.equal(verdict.policies.tuned!.sampled_success!.mean, 16 / 64);
  assert.match(verdict.sentence, / When sampling, success is: base 0\.03, tuned 0\.25\.$/);
  const metrics = verdict.comparisons.map((c) => c.metric);
  assert.deepEqual(metrics.slice(0, 3), ["success", "greedy_success", "sampled_success"]);
});

Deno.test("verdictOver() pools tries and says so when a scenario was tried more than once", () => {
  const tries = [0, 1, 2].flatMap((
    t,
  ) => [...solved("base", 0, 0, 10, { try: t }), ...solved("tuned", 0, 6, 10, { try: t })]);
  const verdict = verdictOver(tries, CONFIG);
  assert.match(verdict.sentence, /^Tuned solves 18 of 30 tries at 10 held-out scenarios, base 0: \+0\.60/);
  // Tries that always agree are ten observations and not thirty.
  assert.ok(verdict.difference!.low < 0.35, String(verdict.difference!.low));
});

Deno.test("verdictOver() measures calls, recovery and causes of failure", () => {
  const rollouts = [
    rollout("base", 0, { end: "invalid_calls", invalid_calls: 3, call_turns: 3 }),
    rollout("base", 1, { end: "answered", failed_calls: 1, success: true }),
    rollout("base", 2, { end: "max_turns", tool_calls: 4 }),
    rollout("base", 3, { end: "answered" }),
  ];
  const { base } = verdictOver(rollouts, CONFIG).policies;
  assert.equal(base!.tool_calls, 7 / 4);
  assert.equal(base!.invalid_calls, 3 / 4);
  assert.equal(base!.invalid_call_rate, 3 / 6);
  assert.deepEqual([base!.error_recovery!.mean, base!.error_recovery!.n], [0.5, 2]);
  assert.deepEqual(base!.failures, {
    "finished with a wrong result": 1,
    "ran out of turns": 1,
    "too many invalid calls": 1,
  });
  assert.equal(base!.tokens, 120);
});

Deno.test("verdictOver() warns when base never made a valid call", () => {
  const rollouts = [...solved("base", 0, 0, 8, { invalid_calls: 1 }), ...solved("tuned", 0, 8, 8)];
  const [note] =
    verdictOver(rollouts, { ...CONFIG, evaluate: { ...CONFIG.evaluate, policies: ["base", "tuned"] } }).notes;
  assert.equal(
    note,
    "In 8 of 8 rollouts base made no valid tool call: a policy that beats it may have learned little more than the format of calls.",
  );
});

Deno.test("verdictOver() says do not train when the prompt is enough", () => {
  const evaluate = { ...CONFIG.evaluate, policies: ["base", "prompt", "tuned"] };
  const prompted = [...solved("base", 0, 20), ...solved("prompt", 0, 61)];
  const untrained = verdictOver(prompted, { ...CONFIG, evaluate });
  assert.match(
    untrained.sentence,
    /^Do not train: prompting is enough, the prompt solves 61 of 64 held-out scenarios; .*base 20: \+0\.64/,
  );
  const trained = verdictOver([...prompted, ...solved("tuned", 0, 62)], { ...CONFIG, evaluate });
  assert.match(trained.sentence, /^Do not train: prompting is enough, the prompt .*; tuned solves 62 of 64 .*base 20/);
});

/** What RL did on held-out scenarios (29 of 64 before it, `heldout` after) and on validation (20 of 56 before it). */
function besideValidation(heldout: number, validation: number, more: EvaluatedRollout[] = []) {
  const closing = [...solved("base", 0, 0), ...solved("warm_start", 0, 29), ...solved("tuned", 0, heldout)];
  return verdictOver(closing, CONFIG, {
    validation: [...solved("warm_start", 0, 20, 56), ...solved("tuned", 0, validation, 56), ...more],
  });
}

for (
  const [what, heldout, validation, words] of [
    [
      "what was learned carries over",
      41,
      31,
      "RL adds +0.19 (0.11 to 0.30). On 56 validation scenarios RL adds +0.20 (0.11 to 0.32): it learned, " +
      "and this carries over to held-out scenarios.",
    ],
    [
      "what was learned does not carry over",
      30,
      31,
      "RL did not measurably improve on the warm start: +0.02 (-0.04 to 0.08). On 56 validation scenarios RL adds +0.20 " +
      "(0.11 to 0.32): it learned, but this does not measurably carry over to held-out scenarios.",
    ],
    [
      "what was learned cost success on held-out scenarios",
      17,
      31,
      "RL took away 0.19 (-0.30 to -0.11): use the warm start. On 56 validation scenarios RL adds +0.20 (0.11 to 0.32): " +
      "it learned, but at the expense of held-out scenarios.",
    ],
    [
      "nothing measurable was learned",
      30,
      21,
      "RL did not measurably improve on the warm start: +0.02 (-0.04 to 0.08). On 56 validation scenarios RL gave no " +
      "measurable gain: +0.02 (-0.05 to 0.09).",
    ],
    [
      "training unlearned",
      30,
      9,
      "RL did not measurably improve on the warm start: +0.02 (-0.04 to 0.08). On 56 validation scenarios RL took away " +
      "0.20 (-0.32 to -0.11).",
    ],
  ] as const
) {
  Deno.test(`verdictOver() tells learned from carried over when ${what}`, () => {
    const { sentence } = besideValidation(heldout, validation);
    assert.equal(sentence.slice(sentence.indexOf("; ") + 2), words);
  });
}

Deno.test("verdictOver() compares RL with base on validation when there was no warm start", () => {
  const config = { ...CONFIG, evaluate: { ...CONFIG.evaluate, policies: ["base", "tuned"] } };
  const verdict = verdictOver([...solved("base", 0, 20), ...solved("tuned", 0, 21)], config, {
    validation: [...solved("base", 0, 20, 56), ...solved("tuned", 0, 31, 56)],
  });
  assert.equal(
    verdict.sentence,
    "No measurable gain: tuned solves 21 of 64 held-out scenarios, base 20: +0.02 (95 % interval -0.04 to 0.08). " +
      "More scenarios needed: about 500 would show a difference of this size. On 56 validation scenarios RL adds +0.20 (0.11 to 0.32): it learned, but this does not measurably carry over to " +
      "held-out scenarios.",
  );
  assert.deepEqual(Object.keys(verdict.validation!.policies), ["base", "tuned"]);
});

Deno.test("verdictOver() counts on validation only pairs under its own sampling, and says what was left out", () => {
  const verdict = besideValidation(30, 31, [
    ...solved("tuned", 0, 56, 56, { sampling: "sampled" }),
    ...solved("step-2", 0, 56, 56),
    rollout("tuned", 99, { invalid: "server died" }),
  ]);
  assert.equal(verdict.validation!.difference.n, 56);
  assert.equal(verdict.validation!.policies.tuned!.mean, 31 / 56);
  assert.deepEqual(verdict.notes.slice(-2), [
    "1 of 113 rollouts on validation are left out (server died: 1).",
    "The tuned checkpoint was chosen by its success on validation, so its success there is an optimistic figure.",
  ]);
});

Deno.test("verdictOver() says nothing of validation when only one of the policies was tried there", () => {
  const closing = [...solved("warm_start", 0, 29), ...solved("tuned", 0, 30)];
  const verdict = verdictOver(closing, CONFIG, { validation: solved("warm_start", 0, 20, 56) });
  assert.equal("validation" in verdict, false);
  assert.doesNotMatch(verdict.sentence, /validation/);
});

Deno.test("verdictOver() compares the last model that was judged where another could not be reached", () => {
  const dead = solved("dead", 0, 0).map((one) => ({ ...one, invalid: "no connection" }));
  const config = { ...CONFIG, evaluate: { ...CONFIG.evaluate, policies: ["base", "other", "dead"] } };
  const verdict = verdictOver([...solved("base", 0, 0), ...solved("other", 0, 41), ...dead], config);
  assert.equal(
    verdict.sentence,
    "Other solves 41 of 64 held-out scenarios, base 0: +0.64 (95 % interval 0.52 to 0.75). " +
      "64 of 192 rollouts could not be judged and are left out (no connection: 64).",
  );
});
