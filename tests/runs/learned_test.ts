/**
 * What shows whether RL learned: the verdict's comparison on validation scenarios (what it measures, what it says, that resume
 * completes it), and the option of an optimizer of its own.
 * @module
 */
import assert from "node:assert/strict";
import type { Scenario, Trajectory } from "../../pipeline/events.ts";
import type { Roles } from "../../pipeline/plugin.ts";
import { alternating, onlineTrainer, pluginRun, scenarios, stoppedAt } from "../fixtures/plugin_run.ts";

const SETTINGS = {
  ladder: ["rl"],
  train: { steps: 2, group_size: 2, groups_per_step: 2 },
  evaluate: { policies: ["base", "tuned"], validation_scenarios: 20 },
};

/** 24 validation scenarios in two families of 20 and 4, and 8 held-out ones. */
const source: Roles["scenario-source"] = {
  produce: () =>
    scenarios(4, 8, 24).map((scenario: Scenario, index) => ({ ...scenario, tags: [index < 8 ? "rare" : "common"] })),
};

/** RL teaches everything on validation, and nothing that carries over. */
const judge: Roles["judge"] = {
  ...alternating,
  judge: ({ group }) =>
    group.map((one: Trajectory, index) => {
      const solved = one.purpose === "train" ? index % 2 : Number(one.split === "validation" && one.policy === "tuned");
      return { score: solved, reason: "" };
    }),
};

const TRIED = `SELECT policy, split, list_sort(list(DISTINCT scenario_id)) AS ids, count(*) AS n
  FROM rollouts JOIN rewards USING (rollout_id) WHERE purpose = 'evaluation' GROUP BY ALL ORDER BY ALL`;

Deno.test("the policies before and after RL are tried on the same few validation scenarios, once each", async () => {
  await using run = await pluginRun({ source, judges: { judge } }, SETTINGS);
  const { status, verdict } = await run.start();
  assert.equal(status, "completed");
  const tried = await run.rows(TRIED);
  assert.deepEqual(tried.map(({ policy, split, n }) => [policy, split, Number(n)]), [
    ["base", "heldout", 8],
    ["base", "validation", 20],
    ["tuned", "heldout", 8],
    ["tuned", "validation", 20],
  ]);
  assert.deepEqual(tried[1]!.ids, tried[3]!.ids);
  // Families take turns: the small one is complete.
  assert.equal(tried[1]!.ids instanceof Array && tried[1]!.ids.filter((id) => /-[0-3]$/.test(String(id))).length, 4);
  assert.equal(verdict!.validation!.scenarios, 20);
  assert.match(
    verdict!.sentence,
    /^No measurable gain: .* On 20 validation scenarios RL adds \+1\.00 \(0\.\d\d to 1\.00\): it learned, but this does not/,
  );
});

for (const done of [1, 2, 3, 4]) {
  Deno.test(`a run that was stopped after evaluation ${done} of 4 is resumed with the same scenarios`, async () => {
    await using run = await pluginRun({ source, judges: { judge } }, SETTINGS);
    assert.equal((await run.start(stoppedAt("evaluation.completed", done))).status, "interrupted");
    assert.equal((await run.start({ resume: true })).status, "completed");
    assert.deepEqual((await run.rows(TRIED)).map(({ n }) => Number(n)), [8, 20, 8, 20]);
    assert.equal((await run.rows("SELECT * FROM evaluations")).length, 4);
  });
}

for (
  const [what, settings] of [
    ["validation_scenarios is 0", { validation_scenarios: 0 }],
    ["validation is the verdict's own split", { split: "validation" }],
    ["tuned is not evaluated", { policies: ["base"] }],
  ] as [string, Record<string, unknown>][]
) {
  Deno.test(`nothing is tried beside the verdict's split when ${what}`, async () => {
    const evaluate: Record<string, unknown> = { split: "heldout", ...SETTINGS.evaluate, ...settings };
    await using run = await pluginRun({ source, judges: { judge } }, { ...SETTINGS, evaluate });
    const { status, verdict } = await run.start();
    assert.equal(status, "completed");
    assert.equal("validation" in verdict!, false);
    const splits = await run.rows("SELECT DISTINCT split FROM evaluations");
    assert.deepEqual(splits.map(({ split }) => split), [evaluate.split]);
  });
}

for (const fresh_optimizer of [true, false]) {
  Deno.test(`the trainer is told whether RL gets an optimizer of its own: ${fresh_optimizer}`, async () => {
    const seen: boolean[] = [];
    const working = onlineTrainer();
    assert.ok(working.mode === "online");
    const trainer: Roles["trainer"] = {
      mode: "online",
      open: (args) => (seen.push(args.fresh_optimizer), working.open(args)),
    };
    const train = { ...SETTINGS.train, ...(fresh_optimizer ? {} : { fresh_optimizer }) };
    await using run = await pluginRun({ trainer }, { ...SETTINGS, train });
    assert.equal((await run.start(stoppedAt("train.stepped", 1))).status, "interrupted");
    assert.equal((await run.start({ resume: true })).status, "completed");
    assert.deepEqual(seen, [fresh_optimizer, fresh_optimizer]);
  });
}
