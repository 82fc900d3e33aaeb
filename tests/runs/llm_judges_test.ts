/** Judges that ask a language model, in runs on the real file server: what they say, when, and what is recorded of it. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openRun } from "../../pipeline/store/live_run.ts";
import type { Row } from "../../pipeline/store/store.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import run from "../../runners/verbs/run.ts";
import { judgedPipeline, scriptedStages } from "../fixtures/judged_pipeline.ts";
import { anthropicStandIn } from "../fixtures/llm_endpoints.ts";
import { ruleJudge, startRuleJudge } from "../fixtures/rule_judge.ts";
import { runVerb } from "../fixtures/small_run.ts";

const KEY = "HONE_LLM_JUDGES_TEST_KEY";

async function rows(run_dir: string, sql: string): Promise<Row[]> {
  await using client = await openRun(run_dir);
  return await client.query(sql);
}

/** The pipeline's stages with these judges, and rewards that are made of these. */
async function stages(judges: Record<string, unknown>[], weights: Record<string, number>) {
  return (await scriptedStages(judges)).map((stage) =>
    stage.use === "reward-shaper/weighted" ? { ...stage, with: { weights } } : stage
  );
}

Deno.test("a policy is trained on the scores of a ruler, beside a rubric and pairs, each through its own API", async () => {
  Deno.env.set(KEY, "sk-llm-judges-test");
  await using honest = startRuleJudge();
  await using claude = anthropicStandIn(ruleJudge(), "sk-llm-judges-test");
  const judges = [
    { use: "judge/state", with: { partial: 0 } },
    { use: "judge/rubric", with: { endpoint: { ...honest.endpoint }, criteria: { goal: "Is it done?" } } },
    { use: "judge/ruler", with: { endpoint: { ...claude.endpoint, api_key_env: KEY } } },
    { use: "judge/pairwise", with: { endpoint: { ...honest.endpoint }, temperature: 0.5 } },
  ];
  await using judged = await judgedPipeline(judges);
  try {
    const weights = { ruler: 1, "pairwise.flipped": -0.1 };
    const pipeline = await judged.write("ruled.yaml", {
      stages: await stages(judges, weights),
      train: { group_size: 4, groups_per_step: 2, steps: 2, concurrency: 4 },
    });
    const run_dir = join(judged.dir, "run");
    const { code, err } = await runVerb(run, { positional: [pipeline], args: { run_dir, yes: true } });
    assert.equal(code, 0, err.join(""));
    assert.deepEqual([...honest.refused, ...claude.refused], []);

    // The honest judge agrees with the checks: on every rollout that both have scored.
    const [agreement] = await rows(
      run_dir,
      `SELECT count(*) AS n, count(*) FILTER ((s.score = 1) = (r.score = 1)) AS same, count(DISTINCT s.score) AS kinds
       FROM judgements s JOIN judgements r USING (rollout_id) WHERE s.judge = 'state' AND r.judge = 'rubric'
       AND s.score IS NOT NULL`,
    );
    assert.ok(Number(agreement!.n) > 0 && Number(agreement!.kinds) === 2, JSON.stringify(agreement));
    assert.equal(agreement!.same, agreement!.n);

    const relative = await rows(
      run_dir,
      `SELECT DISTINCT judge, purpose = 'train' AS trained, score IS NOT NULL AS scored, abstain, invalid FROM judgements JOIN rollouts USING (rollout_id)
       WHERE judge IN ('ruler', 'pairwise') ORDER BY ALL`,
    );
    const outside = { trained: false, scored: false, abstain: "relative: used only in training", invalid: null };
    const inside = { trained: true, scored: true, abstain: null, invalid: null };
    assert.deepEqual(relative, ["pairwise", "ruler"].flatMap((judge) => [{ judge, ...outside }, { judge, ...inside }]));

    const asked =
      `SELECT DISTINCT stage, api, model, outcome, request->>'temperature' AS temperature FROM llm_calls ORDER BY ALL`;
    const call = { model: "judge-1", outcome: "ok", temperature: "0" };
    assert.deepEqual(await rows(run_dir, asked), [
      { stage: "pairwise", api: "openai", ...call, temperature: "0.5" },
      { stage: "rubric", api: "openai", ...call },
      { stage: "ruler", api: "anthropic", ...call },
    ]);
    const [steps] = await rows(run_dir, "SELECT count(*) AS n FROM train_steps WHERE kind = 'rl'");
    assert.ok(Number(steps!.n) > 0);
    const [spread] = await rows(
      run_dir,
      "SELECT max(value) - min(value) AS spread FROM rewards JOIN rollouts USING (rollout_id) WHERE purpose = 'train'",
    );
    assert.equal(spread!.spread, 0.5);
  } finally {
    Deno.env.delete(KEY);
  }
});

Deno.test("a rubric that decides measures success by its own score of success, and repeats without a request", async () => {
  await using long = startRuleJudge("length");
  const rubric = {
    use: "judge/rubric",
    with: { endpoint: { ...long.endpoint }, criteria: { goal: "Is it done?" }, decisive: true, success_at: 0.01 },
  };
  await using judged = await judgedPipeline([rubric]);
  const pipeline = await judged.write("rubric.yaml", { stages: await stages([rubric], { rubric: 1 }), ladder: [] });
  const measured = async (name: string) => {
    const run_dir = join(judged.dir, name);
    const { code, err } = await runVerb(evaluate, { positional: [pipeline], args: { run_dir, yes: true } });
    assert.equal(code, 0, err.join(""));
    return await rows(
      run_dir,
      "SELECT success, min(score) AS least, max(score) AS most FROM rewards JOIN judgements USING (rollout_id) GROUP BY ALL",
    );
  };
  // "Done." is 5 of 300 characters: enough for 0.01, whatever was done.
  assert.deepEqual(await measured("once"), [{ success: true, least: 5 / 300, most: 5 / 300 }]);
  const asked = long.requests.length;
  assert.ok(asked > 0);
  await measured("again");
  assert.equal(long.requests.length, asked);
});
