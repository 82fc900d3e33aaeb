import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import run from "../../runners/verbs/run.ts";
import { verdict as verdict_schema } from "../../runners/verbs/results.ts";
import type { Verdict } from "../../pipeline/verdict/verdict_types.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import { select } from "./select.ts";

const here = import.meta.dirname!;

Deno.test("scenarios.jsonl is what select() writes, and its held-out tasks are not those of training", async () => {
  const text = await readFile(join(here, "scenarios.jsonl"), "utf8");
  assert.equal(select(), text);
  const rows = text.trim().split("\n").map((line) => JSON.parse(line));
  const tasks = (split: string) => rows.filter((row) => row.split === split).map(({ task }) => task);
  assert.deepEqual([tasks("train").length, tasks("heldout").length], [126, 48]);
  assert.deepEqual(tasks("heldout").filter((task) => tasks("train").includes(task)), []);
});

Deno.test("the verdict: a tuned model that is measurably better, between a floor of 0 and a ceiling of 1", async () => {
  const dir = await mkdtemp(join(tmpdir(), "hone-verdict-"));
  try {
    const run_dir = join(dir, "run");
    const done = await runVerb(run, { positional: [join(here, "pipeline.yaml")], args: { run_dir, yes: true } });
    assert.equal(done.code, 0, done.err.join(""));
    const verdict: Verdict = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
    assert.deepEqual(verdict_schema.parse(verdict), verdict);
    const { policies, floor, ceiling, difference, comparisons, scenarios, tries } = verdict;
    assert.deepEqual([scenarios, tries], [48, 2]);

    assert.deepEqual(floor && [floor.success.mean, floor.satisfied], [0, []]);
    assert.deepEqual(ceiling && [ceiling.success.mean, ceiling.unsolved], [1, []]);
    for (const { mean, low, high, n } of [floor!.success, ceiling!.success]) {
      assert.ok(n === 96 && 0 <= low && low <= mean && mean <= high && high <= 1);
    }
    for (const name of ["base", "prompt", "tuned"]) {
      const { success, pass_at_k, pass_hat_k } = policies[name]!;
      assert.ok(success.n > 0 && 0 <= success.low && success.low <= success.mean && success.mean <= success.high);
      assert.ok(success.high - success.low > 0, `${name} has an interval, also at 0`);
      assert.deepEqual([pass_at_k.map(({ k }) => k), pass_hat_k.map(({ k }) => k)], [[1, 2], [1, 2]]);
      assert.ok(pass_hat_k[1]!.mean <= pass_hat_k[0]!.mean && pass_at_k[0]!.mean <= pass_at_k[1]!.mean);
    }

    // Better than base, and better than the prompt: neither is chance.
    assert.equal(verdict.outcome, "improved");
    assert.equal(verdict.needed_scenarios, null);
    assert.ok(difference?.policy === "tuned" && difference.against === "base" && difference.low > 0);
    const over_prompt = comparisons.find((one) =>
      one.metric === "success" && one.policy === "tuned" && one.against === "prompt"
    );
    assert.ok(over_prompt && over_prompt.low > 0, JSON.stringify(over_prompt));
    assert.match(verdict.sentence, /^Tuned solves \d+ of \d+ tries at 48 held-out scenarios, base \d+: \+0\.\d\d /);
    assert.equal(verdict.by_tag.length, 8);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
});
