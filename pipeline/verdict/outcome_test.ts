import assert from "node:assert/strict";
import { CONFIG, rollout, solved } from "../../tests/fixtures/evaluated_rollouts_of.ts";
import type { EvaluatedRollout, Verdict, VerdictConfig } from "./verdict_types.ts";
import { verdictOver } from "./verdict.ts";

const comparing = (...policies: string[]): VerdictConfig => ({
  ...CONFIG,
  evaluate: { ...CONFIG.evaluate, policies },
});
const PAIR = comparing("base", "tuned");

Deno.test("verdictOver() claims nothing from two held-out scenarios, whatever they say", () => {
  const verdict = verdictOver([...solved("base", 0, 0, 2), ...solved("tuned", 0, 2, 2)], PAIR, {
    validation: [...solved("base", 0, 0, 3), ...solved("tuned", 0, 3, 3)],
  });
  assert.equal(verdict.outcome, "more_scenarios_needed");
  assert.equal(
    verdict.sentence,
    "Too few scenarios for a claim: tuned solves 2 of 2 held-out scenarios, base 0. More scenarios needed: at least 6.",
  );
  assert.deepEqual(verdict.needed_scenarios, { scenarios: 6, discordant: 1, power: 0.8 });
  assert.equal(
    verdictOver([...solved("base", 0, 1, 2), ...solved("tuned", 0, 1, 2)], PAIR).sentence,
    "Too few scenarios for a claim: tuned solves 1 of 2 held-out scenarios, base 1. More scenarios needed: at least 6.",
  );
});

Deno.test("verdictOver() claims nothing from many tries at few scenarios, nor where few pairs are left", () => {
  const tries = [0, 1, 2, 3].flatMap((t) => [
    ...solved("base", 0, 0, 5, { try: t }),
    ...solved("tuned", 0, 5, 5, { try: t }),
  ]);
  assert.equal(verdictOver(tries, PAIR).outcome, "more_scenarios_needed");
  const lost = solved("tuned", 0, 8, 8).map((e, i) => i > 1 ? { ...e, invalid: "timed out" } : e);
  assert.equal(verdictOver([...solved("base", 0, 0, 8), ...lost], PAIR).outcome, "more_scenarios_needed");
});

Deno.test("verdictOver() has no figure for a policy of which every rollout is invalid", () => {
  const invalid = { invalid: "server died", reward: null };
  const all = [...solved("base", 0, 3, 8), ...solved("tuned", 0, 0, 8, invalid)];
  const verdict = verdictOver(all, PAIR);
  assert.equal(verdict.outcome, "not_compared");
  const { turns, tool_calls, tokens, seconds, latency, usd, shortened, success, pass_at_k } = verdict.policies.tuned!;
  assert.deepEqual([turns, tool_calls, tokens, seconds, latency, usd, shortened], Array(7).fill(null));
  assert.deepEqual([success.n, pass_at_k], [0, []]);
  assert.ok(verdict.notes.includes("8 of 8 rollouts of tuned are left out (server died: 8)."));
  assert.equal(verdictOver(all.slice(8), comparing("tuned")).outcome, "not_measured");
  assert.equal(verdictOver([], PAIR).outcome, "not_measured");
});

Deno.test("verdictOver() names each outcome", () => {
  const of = (...rollouts: EvaluatedRollout[][]) => verdictOver(rollouts.flat(), PAIR).outcome;
  assert.equal(of(solved("base", 0, 10), solved("tuned", 0, 30)), "improved");
  assert.equal(of(solved("base", 0, 30), solved("tuned", 0, 10)), "worse");
  assert.equal(of(solved("base", 0, 20), solved("tuned", 0, 23)), "more_scenarios_needed");
  // A gain of one in 64 where twenty scenarios go either way would take thousands.
  assert.equal(of(solved("base", 0, 20), solved("tuned", 20, 41)), "no_measurable_gain");
  assert.equal(of(solved("base", 0, 20), solved("tuned", 0, 20)), "no_measurable_gain");
  assert.equal(of(solved("base", 0, 20), solved("tuned", 0, 18)), "no_measurable_gain");
  assert.equal(of(solved("base", 0, 20)), "not_compared");
  assert.equal(of(solved("base", 0, 62), solved("tuned", 0, 63)), "prompting_is_enough");
});

Deno.test("verdictOver() says that prompting is enough when it beats base and tuned does not measurably beat it", () => {
  const config = comparing("base", "prompt", "tuned");
  const untuned = [...solved("base", 0, 10), ...solved("prompt", 0, 38)];
  const enough = verdictOver([...untuned, ...solved("tuned", 0, 40)], config);
  assert.equal(enough.outcome, "prompting_is_enough");
  assert.equal(
    enough.sentence,
    "Do not train: prompting is enough, the prompt solves 38 of 64 held-out scenarios; " +
      "tuned solves 40 of 64 held-out scenarios, base 10: +0.47 (95 % interval 0.35 to 0.59).",
  );
  assert.equal(verdictOver([...untuned, ...solved("tuned", 0, 60)], config).outcome, "improved");
});

Deno.test("verdictOver() does not call a model worse by training, and takes the ladder's last rung for its difference", () => {
  const model = verdictOver([...solved("base", 0, 40), ...solved("gpt", 0, 20)], comparing("base", "gpt"));
  assert.match(model.sentence, /^Gpt is worse: gpt solves 20 of 64 held-out scenarios, base 40: /);
  const rollouts = [...solved("base", 0, 0), ...solved("warm_start", 0, 20), ...solved("gpt", 0, 60)];
  assert.equal(verdictOver(rollouts, comparing("base", "warm_start", "gpt")).difference!.policy, "warm_start");
});

Deno.test("verdictOver() takes `nothing` for the floor and `reference` for the ceiling, and never for competitors", () => {
  const verdict = verdictOver(
    [
      ...solved("base", 0, 10),
      ...solved("tuned", 0, 30),
      ...solved("nothing", 0, 2),
      ...solved("reference", 1, 64),
    ],
    comparing("base", "tuned", "nothing", "reference"),
  );
  assert.deepEqual(Object.keys(verdict.policies), ["base", "tuned"]);
  assert.ok(verdict.comparisons.every(({ policy, against }) => policy === "tuned" && against === "base"));
  assert.deepEqual([verdict.floor!.satisfied, verdict.floor!.success.mean], [["s0", "s1"], 2 / 64]);
  assert.deepEqual([verdict.ceiling!.unsolved, verdict.ceiling!.success.mean], [["s0"], 63 / 64]);
  assert.match(
    verdict.sentence,
    / Doing nothing already satisfies 2 held-out scenarios\. The reference solution itself fails in 1 held-out scenario\.$/,
  );
  assert.deepEqual(verdict.notes, ["Doing nothing satisfies: s0, s1.", "The reference solution fails in: s0."]);
});

Deno.test("verdictOver() names what became worse: tags by their interval, scenarios by all of their tries", () => {
  const scenarios = new Map(
    Array.from({ length: 64 }, (_, i) => [`s${i}`, { tags: [i < 16 ? "move" : "write"], tools: ["move_file"] }]),
  );
  const greedy = verdictOver([...solved("base", 0, 20), ...solved("tuned", 12, 60)], PAIR, { scenarios });
  assert.deepEqual(greedy.worse.map(({ kind, name }) => `${kind} ${name}`).slice(0, 3), [
    "tag move",
    "scenario s0",
    "scenario s1",
  ]);
  assert.match(
    greedy.sentence,
    / Measurably worse on this tag: move\. Worse on these 12 scenarios, which base solves and tuned does not: s0, s1, s10, and 9 more\.$/,
  );
  // One sampled try of a scenario is one draw of two.
  const sampling = { ...PAIR, evaluate: { ...PAIR.evaluate, sampling: ["sampled"] as const } };
  const once = { sampling: "sampled" } as const, again = { ...once, try: 1 };
  const single = [...solved("base", 0, 3, 64, once), ...solved("tuned", 3, 60, 64, once)];
  assert.deepEqual(verdictOver(single, sampling).worse, []);
  const twice = [...single, ...solved("base", 0, 3, 64, again), ...solved("tuned", 1, 60, 64, again)];
  assert.deepEqual(verdictOver(twice, sampling).worse, [{ kind: "scenario", name: "s0", difference: null }]);
  assert.match(
    verdictOver(twice, sampling).sentence,
    / Worse on this scenario, which base solves in every attempt and tuned in none: s0\.$/,
  );
});

Deno.test("verdictOver() breaks success down by tag and by tools, for every policy and sampling", () => {
  const scenarios = new Map([
    ["s0", { tags: ["a", "a"], tools: ["write", "read", "write"] }],
    ["s1", { tags: ["a", "b"] }],
    ["s2", { tags: [] }],
  ]);
  const rollouts = [
    rollout("base", 0, { success: true }),
    rollout("base", 0, { sampling: "sampled" }),
    rollout("base", 1, { success: true, tools: ["list", "read"], tool_calls: 3 }),
    rollout("base", 1, { success: true, tools: ["read"], tool_calls: 1, try: 1 }),
    rollout("base", 2, { tools: ["write"] }),
    rollout("tuned", 0, { invalid: "timed out" }),
  ];
  const { by_tag, by_tools } = verdictOver(rollouts, PAIR, { scenarios });
  assert.deepEqual(by_tag.map(({ tag, scenarios }) => [tag, scenarios]), [["a", 2], ["b", 1]]);
  assert.equal(by_tag[0]!.policies.base!.greedy!.n, 3);
  assert.equal(by_tag[0]!.policies.base!.sampled!.mean, 0);
  assert.deepEqual(by_tag[0]!.policies.tuned, {});
  assert.deepEqual(by_tools.map(({ tools, scenarios }) => [tools, scenarios]), [
    [["read", "write"], 1],
    [["read"], 1],
    [null, 1],
  ]);
});

Deno.test("verdictOver() has pass@k, pass^k, completion, hallucinated tools and the declared cost", () => {
  const tries = [0, 1].flatMap((t) =>
    solved("base", 0, t === 0 ? 8 : 4, 16, { try: t, end: t === 0 ? "answered" : "max_turns", hallucinated_tools: t })
  );
  const prices = { base: { input_per_million: 2, output_per_million: 10 } };
  const { base } = verdictOver(tries, { ...comparing("base"), prices }).policies;
  assert.deepEqual(base!.pass_at_k.map(({ k, mean, n }) => [k, mean, n]), [[1, 6 / 16, 16], [2, 8 / 16, 16]]);
  assert.deepEqual(base!.pass_hat_k.map(({ k, mean }) => [k, mean]), [[1, 6 / 16], [2, 4 / 16]]);
  assert.deepEqual([base!.completion.mean, base!.hallucinated_tools], [0.5, 0.5]);
  assert.deepEqual(base!.means.hallucinated_tools.n, 32);
  assert.equal(base!.usd!.toFixed(9), ((100 * 2 + 20 * 10) / 1e6).toFixed(9));
  assert.deepEqual(base!.latency, { p50: 1, p90: 1 });
});

Deno.test("verdictOver() says where the warm start is nominally better than the exported policy", () => {
  const told = (heldout: number, change: Partial<VerdictConfig["evaluate"]> = {}, exported = "tuned"): Verdict => {
    const config = { ...CONFIG, evaluate: { ...CONFIG.evaluate, ...change } };
    const closing = [...solved("base", 0, 0), ...solved("warm_start", 0, 30), ...solved("tuned", 0, heldout)];
    return verdictOver(closing, config, { exported });
  };
  assert.deepEqual(told(31).export, { policy: "tuned", reason: "it is the result of the last rung." });
  assert.deepEqual(told(29).notes, [
    "Exported is tuned: it is the result of the last rung, although the warm start is nominally better on held-out " +
    "scenarios, greedy (0.47 against 0.45); `evaluate.export` is `tuned`; with `best_on_validation` the success on " +
    "validation decides.",
  ]);
  assert.equal(
    told(29, { export: "best_on_validation" }, "warm_start").export!.reason,
    "its success on validation is higher than that of tuned (`evaluate.export`).",
  );
});
