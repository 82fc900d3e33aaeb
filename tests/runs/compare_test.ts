import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import compare from "../../runners/verbs/compare_pairs.ts";
import run from "../../runners/verbs/run.ts";
import { judgedPipeline, scriptedStages } from "../fixtures/judged_pipeline.ts";
import { openaiStandIn } from "../fixtures/llm_endpoints.ts";
import { startRuleJudge } from "../fixtures/rule_judge.ts";
import { runVerb } from "../fixtures/small_run.ts";

Deno.test("compare has a judge prefer one policy of a run to another, in pairs, and leaves the run as it is", async () => {
  await using honest = startRuleJudge();
  await using first = startRuleJudge("first");
  await using mute = openaiStandIn(() => "I would rather not say.");
  const pairwise = (endpoint: object) => ({ use: "judge/pairwise", with: { endpoint: { ...endpoint } } });
  await using judged = await judgedPipeline([{ use: "judge/state" }]);
  const run_dir = join(judged.dir, "run");
  const long = await judged.write("long.yaml", {
    // The third step's policy solves what the base does not.
    train: { group_size: 4, groups_per_step: 2, steps: 3, concurrency: 4 },
    evaluate: { policies: ["base", "tuned"], tries: 3 },
  });
  const trained = await runVerb(run, { positional: [long], args: { run_dir, yes: true } });
  assert.equal(trained.code, 0, trained.err.join(""));
  const before = await readFile(join(run_dir, "run.duckdb"));

  const by = async (name: string, judges: Record<string, unknown>[], words = ["tuned", "base"], args = {}) => {
    const stages = await scriptedStages([{ use: "judge/state" }, ...judges]);
    const pipeline = await judged.write(name, { stages });
    return await runVerb(compare, {
      positional: [run_dir, ...words],
      args: { pipeline, yes: true, ...args },
      format: "json",
    });
  };
  const figures = async (...given: Parameters<typeof by>) => {
    const { code, out, err } = await by(...given);
    assert.equal(code, 0, err.join(""));
    return JSON.parse(out.join(""));
  };

  const fair = await figures("fair.yaml", [pairwise(honest.endpoint)]);
  assert.ok(fair.wins > 0, JSON.stringify(fair));
  assert.deepEqual([fair.losses, fair.invalid, fair.flipped], [0, 0, 0]);
  assert.equal(fair.requests, honest.requests.length);
  const turned = await figures("turned.yaml", [pairwise(honest.endpoint)], ["base", "tuned"]);
  assert.deepEqual([turned.wins, turned.losses, turned.ties], [0, fair.wins, fair.ties]);
  // The same questions, in the other order: nothing is new.
  assert.equal(turned.requests, 0);

  const biased = await figures("biased.yaml", [pairwise(first.endpoint)]);
  assert.deepEqual([biased.wins, biased.losses, biased.flipped > 0, biased.share.mean], [0, 0, true, 0.5]);

  const silent = await figures("silent.yaml", [pairwise(mute.endpoint)]);
  assert.ok(silent.invalid > 0 && silent.wins + silent.losses === 0);
  assert.match(silent.cause, /^judge failed: Cannot use the reply of model "judge-1" /);

  assert.deepEqual(await readFile(join(run_dir, "run.duckdb")), before);

  const refused = (message: string, hint: string, ...given: Parameters<typeof by>) =>
    assert.rejects(by(...given), { message, hint });
  const none = "Cannot compare policies: the pipeline has no judge that compares rollouts";
  const add = "Add judge/pairwise or judge/ruler to the pipeline's stages, or name another pipeline (`--pipeline`).";
  await refused(none, add, "none.yaml", []);
  const two = [pairwise(honest.endpoint), { use: "judge/ruler", with: { endpoint: { ...honest.endpoint } } }];
  const choose = "Name one: --judge pairwise, --judge ruler";
  await refused("Cannot compare policies: the pipeline has 2 judges that compare rollouts", choose, "two.yaml", two);
  const state = 'Cannot compare with judge "state": expected the id of a judge that compares rollouts';
  await refused(state, choose, "state.yaml", two, ["tuned", "base"], { judge: "state" });
  await refused(
    `Cannot compare "tuned" with "best": the run in ${JSON.stringify(run_dir)} has no heldout scenario that both ` +
      "attempted alike and that can be judged",
    "Policies evaluated on heldout: base, tuned",
    "best.yaml",
    [pairwise(honest.endpoint)],
    ["tuned", "best"],
  );

  const text = await runVerb(compare, {
    positional: [run_dir, "tuned", "base"],
    args: { pipeline: join(judged.dir, "fair.yaml"), yes: true },
  });
  const { wins, ties, share: { n, mean, low, high } } = fair;
  assert.ok(
    text.out.join("").startsWith(
      `pairwise prefers tuned to base in ${wins} of ${n} pairs, base in 0, and neither in ${ties} ` +
        `(${fair.scenarios} scenarios): ${mean.toFixed(2)} (95 % interval ${low.toFixed(2)} to ${high.toFixed(2)})`,
    ),
    text.out.join(""),
  );
  assert.match(text.out.join(""), /\n0 requests sent, \d+ answered from the cache$/);
});
