import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openRun } from "../../pipeline/store/live_run.ts";
import audit from "../../runners/verbs/audit.ts";
import run from "../../runners/verbs/run.ts";
import { type Bias, startRuleJudge } from "../../tests/fixtures/rule_judge.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import { serveModel } from "./serve_model.ts";

const pipeline = join(import.meta.dirname!, "pipeline.yaml");

/** The pipeline's judges at another address; each bias is a model of its own, so that no reply is taken from another's. */
function at(base_url: string, bias: Bias): string[] {
  return ["rubric", "ruler"].flatMap((judge) => [
    `stages.${judge}.with.endpoint.base_url=${base_url}`,
    `stages.${judge}.with.endpoint.model=rule-judge-${bias}`,
  ]);
}

async function audited(run_dir: string, args: Record<string, unknown>) {
  const { code, out, err } = await runVerb(audit, {
    positional: [run_dir],
    args: { yes: true, ...args },
    format: "json",
  });
  assert.equal(code, 0, err.join(""));
  return audit.result.parse(JSON.parse(out[0]!));
}

/** An audit of the run's judge, with a bias in place of the one that it was trained on. */
async function biased(run_dir: string, bias: Bias, judge: string) {
  await using server = startRuleJudge(bias);
  return await audited(run_dir, { judge, set: at(server.endpoint.base_url, bias) });
}

async function checkTrained(run_dir: string): Promise<void> {
  await using records = await openRun(run_dir);
  const [counts] = await records.query(`
    SELECT (SELECT count(*) FROM train_steps WHERE kind = 'rl') AS steps,
      (SELECT count(*) FROM llm_calls WHERE outcome = 'ok') AS asked,
      (SELECT count(*) FROM llm_calls WHERE outcome <> 'ok') AS failed,
      (SELECT count(DISTINCT value) FROM rewards) AS kinds,
      (SELECT count(*) FROM judgements WHERE judge = 'rubric' AND score IS NOT NULL) AS scored,
      (SELECT count(*) FROM judgements WHERE judge = 'state' AND score IS NOT NULL) AS checked`);
  assert.equal(Number(counts!.steps), 2);
  assert.equal(Number(counts!.failed), 0);
  assert.ok(Number(counts!.asked) > 0 && Number(counts!.kinds) > 1, JSON.stringify(counts));
  assert.equal(counts!.scored, counts!.checked);
}

Deno.test("a policy is trained on biased judges, and the audit catches each bias by its figure", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "hone-judged-"));
  const run_dir = join(dir, "run");
  try {
    await t.step("training", async () => {
      await using server = startRuleJudge("confidence");
      const args = { run_dir, yes: true, set: at(server.endpoint.base_url, "confidence") };
      const done = await runVerb(run, { positional: [pipeline], args });
      assert.equal(done.code, 0, done.err.join(""));
      assert.deepEqual(server.refused, []);
      await checkTrained(run_dir);
    });
    await t.step("an honest judge", async () => {
      const { agreement, order_flip_rate, canaries, warnings } = await biased(run_dir, "none", "rubric");
      assert.deepEqual(warnings, []);
      assert.ok(agreement! > 0.9, String(agreement));
      assert.deepEqual([order_flip_rate, canaries], [0, { empty: 0, confident_wrong: 0, decorated: 0, padded: 0 }]);
    });
    await t.step("one that likes formatting", async () => {
      const { canaries, warnings } = await biased(run_dir, "formatting", "rubric");
      assert.ok(canaries.decorated! > 0.5 && canaries.padded === 0, JSON.stringify(canaries));
      assert.match(warnings.join("\n"), /the judge rewards formatting/);
    });
    await t.step("one that likes confidence", async () => {
      const { canaries, warnings } = await biased(run_dir, "confidence", "rubric");
      assert.ok(canaries.confident_wrong! > 0.9 && canaries.empty === 0, JSON.stringify(canaries));
      assert.match(warnings.join("\n"), /the judge believes claims that no call supports/);
    });
    await t.step("one that likes length", async () => {
      const { canaries, warnings } = await biased(run_dir, "length", "rubric");
      assert.ok(canaries.padded! > 0.5, JSON.stringify(canaries));
      assert.match(warnings.join("\n"), /the judge rewards length/);
    });
    await t.step("one that praises an empty answer", async () => {
      const { canaries, warnings } = await biased(run_dir, "empty", "rubric");
      assert.ok(canaries.empty! > 0.9 && canaries.confident_wrong === 0, JSON.stringify(canaries));
      assert.match(warnings.join("\n"), /the judge rewards empty answers/);
    });
    await t.step("one that prefers what it is shown first", async () => {
      const fair = await biased(run_dir, "none", "ruler");
      assert.deepEqual([fair.order_flip_rate, fair.warnings], [0, []]);
      const { order_flip_rate, warnings } = await biased(run_dir, "first", "ruler");
      assert.ok(order_flip_rate! > 0.5, String(order_flip_rate));
      assert.match(warnings.join("\n"), /where a rollout is shown decides part of its score/);
    });
    await t.step("a real model of 135 million parameters, as it is", async () => {
      await using smol = await serveModel();
      Deno.env.set("HONE_JUDGED_KEY", smol.api_key);
      const endpoint = {
        base_url: smol.base_url,
        model: smol.model,
        api_key_env: "HONE_JUDGED_KEY",
        price: { input_per_million: 0, output_per_million: 0 },
      };
      const settings = { endpoint, max_tokens: 48, timeout_secs: 120, prompt: SHORT_PROMPT };
      const set = Object.entries(settings).map(([name, value]) =>
        `stages.rubric.with.${name}=${JSON.stringify(value)}`
      );
      const said = await audited(run_dir, { judge: "rubric", sample: 2, set });
      console.log(JSON.stringify(said, null, 2));
      const { total, invalid } = said.details.judgements;
      assert.equal(said.sample.rollouts, 2);
      assert.ok(total > 0 && invalid >= 0 && invalid <= total && said.cost.requests > 0);
      assert.ok(said.warnings.length + said.notes.length > 0, "nobody is told to trust it");
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});

/** Few tokens, and the form of the reply by example. */
const SHORT_PROMPT = `{{task}}

{{criteria}}

{{attempt}}

Reply with one line in this form: {"goal": {"reason": "It called the right tool.", "score": 1}}`;
