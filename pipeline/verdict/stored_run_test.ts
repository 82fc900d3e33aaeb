import assert from "node:assert/strict";
import { join } from "node:path";
import { Store } from "../store/store.ts";
import { gatherReport } from "./report/report_data.ts";
import { HOSTILE } from "../../tests/fixtures/sample_report.ts";
import { writeRun } from "../../tests/fixtures/stored_run.ts";
import type { Verdict, VerdictConfig } from "./verdict_types.ts";
import { makeVerdict, writeReports } from "./mod.ts";

const CONFIG: VerdictConfig = {
  name: "files",
  seed: 7,
  evaluate: { policies: ["base", "warm_start", "tuned"], split: "heldout", tries: 1, sampling: ["greedy", "sampled"] },
};

Deno.test("makeVerdict() and writeReports() read a real store", async (t) => {
  const dir = await Deno.makeTempDir();
  const store = await Store.open(join(dir, "run.duckdb"), { run_id: "files-1", mode: "create" });
  try {
    await writeRun(store, "files-1");
    const verdict = await makeVerdict({ store, config: CONFIG });

    await t.step("each policy is counted once per scenario, with the last attempt", () => {
      const counts = Object.entries(verdict.policies).map((
        [name, p],
      ) => [name, p.success.mean * p.success.n, p.success.n]);
      assert.deepEqual(counts, [["base", 0, 8], ["warm_start", 3, 8], ["tuned", 6, 8]]);
      assert.equal(verdict.policies.tuned!.sampled_success!.n, 8);
      assert.deepEqual(verdict.policies.tuned!.rollouts, { total: 16, counted: 16, excluded: {} });
      assert.deepEqual(verdict.policies.base!.rollouts.excluded, { "files: server died": 1 });
    });

    await t.step("calls, tokens and recovery come from turns and tool calls", () => {
      const { base, tuned } = verdict.policies;
      assert.deepEqual([base!.invalid_calls, base!.invalid_call_rate, base!.tool_calls], [1, 1, 0]);
      assert.deepEqual([tuned!.invalid_calls, tuned!.tool_calls, tuned!.tokens, tuned!.seconds], [0, 1, 120, 2]);
      assert.deepEqual([tuned!.error_recovery!.n, tuned!.error_recovery!.mean], [1, 1]);
      assert.equal(tuned!.reward.mean, (6 + 2 * 0.25) / 8);
    });

    await t.step("RL is compared with the warm start, and the sentence says what was left out", () => {
      const added = verdict.comparisons.find((c) =>
        c.policy === "tuned" && c.against === "warm_start" && c.metric === "success"
      );
      assert.equal(added!.mean, 3 / 8);
      assert.match(
        verdict.sentence,
        /^Tuned solves 6 of 8 held-out scenarios, base 0: \+0\.75 .*1 of 49 rollouts .*server died: 1/,
      );
    });

    await t.step("the report has the learning curve, failures, costs and samples", async () => {
      await Deno.writeTextFile(join(dir, "pipeline.yaml"), "model: small\ntrain: { steps: 2 }\nladder: [rl]\n");
      const report = await gatherReport(store, verdict, { run_dir: dir, status: "running" });
      const { run, curve, samples } = report;
      assert.deepEqual([run.id, run.name, run.seed, run.status], ["files-1", "files", 7, "running"]);
      assert.deepEqual(curve.map((p) => [p.kind, p.step, p.success?.mean, p.invalid_calls, p.rollouts]), [
        ["supervised", 1, undefined, null, 0],
        ["rl", 1, 0.25, 0.5, 4],
        ["rl", 2, 0.5, 0.25, 4],
      ]);
      assert.deepEqual(report.failures.map((one) => [one.policy, one.rollouts, one.tags]), [
        ["base", 7, ["move", "write"]],
        ["base", 1, ["write"]],
        ["warm_start", 5, ["move", "write"]],
        ["tuned", 2, ["move", "write"]],
      ]);
      assert.deepEqual(report.confusion.map(({ expected, taken, policies }) => [expected, taken, policies]), [
        ["read_file", "write_file", { warm_start: 3, tuned: 1 }],
        ["read_file", null, { base: 4 }],
        ["write_file", null, { base: 4 }],
      ]);
      assert.deepEqual(report.costs.map(({ spent_on, times }) => [spent_on, times]), [
        ["rollouts, evaluation", 50],
        ["rollouts, train", 8],
        ["training, RL", 2],
        ["training, warm start", 1],
      ]);
      assert.deepEqual(report.setup.settings, [["model", "small"], ["ladder", "rl"], ["RL", "steps 2"]]);
      assert.deepEqual([samples.filter(({ kind }) => kind === "gained").length, samples.length], [6, 9]);
      const first = samples.find((sample) => sample.scenario_id === "h0")!;
      assert.equal(first.task, HOSTILE);
      assert.deepEqual(first.runs.map((r) => [r.policy, r.success, r.events.length]), [
        ["base", false, 1],
        ["warm_start", true, 2],
        ["tuned", true, 2],
      ]);
      assert.equal(first.runs[1]!.reasons[0], `state: 1, ${HOSTILE}`);
      assert.equal(first.runs[1]!.reasons[1], "wording: abstains (the scenario expects no answer)");
    });

    await t.step("writeReports() leaves three whole files and nothing else", async () => {
      const files = await writeReports(dir, store, verdict);
      const saved = JSON.parse(await Deno.readTextFile(files.verdict)) as Verdict;
      assert.deepEqual(saved, JSON.parse(JSON.stringify(verdict)));
      const page = await Deno.readTextFile(files.html);
      assert.ok(page.includes("Samples, side by side") && page.match(/<script/g)?.length === 1);
      assert.ok((await Deno.readTextFile(files.markdown)).includes(verdict.sentence));
      const names = [...Deno.readDirSync(dir)].map((entry) => entry.name).filter((name) => name.endsWith(".tmp"));
      assert.deepEqual(names, []);
    });
  } finally {
    await store[Symbol.asyncDispose]();
    await Deno.remove(dir, { recursive: true });
  }
});
