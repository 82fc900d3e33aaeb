/** `train.difficulty`: RL trains on what its first policy solves sometimes, and prefers what still splits its groups. @module */
import assert from "node:assert/strict";
import type { EventName, Scenario } from "../../pipeline/events.ts";
import type { Roles } from "../../pipeline/plugin.ts";
import { alternating, pluginRun, stoppedAt } from "../fixtures/plugin_run.ts";

/** Training scenarios of two families: `never` and `always` solved, and others half of the time. */
const SCENARIOS: Scenario[] = [
  ...["a", "b"].flatMap((family) =>
    ["never-1", "never-2", "always", "half-1", "half-2", "half-3"].map((kind) => `${family}-${kind}`)
  ),
  "held",
].map((id) => ({ id, task: `Do ${id}.`, split: id === "held" ? "heldout" : "train", tags: [id[0]!], checks: [] }));

const judge: Roles["judge"] = {
  ...alternating,
  judge: ({ group, scenario: { id } }) =>
    group.map((_, index) => {
      const score = id.includes("never") ? 0 : id.includes("always") ? 1 : index % 2;
      return { score, reason: "" };
    }),
};
const ROLES = { source: { produce: () => SCENARIOS }, judges: { judge } };

function settings(difficulty: object | undefined, train: object = {}) {
  return {
    ladder: ["rl"],
    train: { steps: 4, group_size: 2, groups_per_step: 4, ...(difficulty && { difficulty }), ...train },
    evaluate: { policies: ["base"] },
  };
}

const DRAWN = `SELECT step, scenario_id FROM rollouts WHERE purpose = 'train' AND try = 0 AND abandoned IS NULL
  ORDER BY step, group_id`;

Deno.test("train.difficulty leaves out what is always or never solved, says so, and does not probe twice", async () => {
  const play = async (...stops: [EventName, number][]) => {
    await using run = await pluginRun(ROLES, settings({ probes: 4 }));
    for (const [i, stop] of stops.entries()) {
      assert.equal((await run.start({ ...stoppedAt(...stop), grace_secs: 2, resume: i > 0 })).status, "interrupted");
    }
    const { status, error } = await run.start({ resume: stops.length > 0 });
    assert.equal(status, "completed", error?.message);
    const said =
      "difficulty: RL trains on 6 of 12 scenarios; left out: 4 with a pass rate below 0.1, 2 with one above 0.9";
    assert.ok(run.lines.includes(`info: ${said}`), run.lines.join("\n"));
    const [{ n }] = await run.rows(
      "SELECT count(*) AS n FROM rollouts WHERE purpose = 'evaluation' AND split = 'train' AND abandoned IS NULL",
    ) as [{ n: number }];
    assert.equal(Number(n), 12 * 4);
    const metrics = await run.rows(
      "SELECT DISTINCT name, value, step FROM metrics WHERE name LIKE 'difficulty%' ORDER BY name",
    );
    assert.deepEqual(metrics.map(({ name, value, step }) => `${name} ${value} ${step}`), [
      "difficulty_kept 6 0",
      "difficulty_not_judged 0 0",
      "difficulty_too_easy 2 0",
      "difficulty_too_hard 4 0",
    ]);
    const drawn = await run.rows(DRAWN);
    assert.equal(drawn.length, 16);
    assert.ok(drawn.every(({ scenario_id }) => String(scenario_id).includes("half")));
    for (const step of [1, 2, 3, 4]) {
      const families = drawn.filter((row) => row.step === step).map(({ scenario_id }) => String(scenario_id)[0]);
      assert.deepEqual(families.sort(), ["a", "a", "b", "b"], "each family keeps its share");
    }
    return drawn;
  };
  const whole = await play();
  assert.deepEqual(await play(["rollout.completed", 20], ["batch.ready", 1]), whole);
  assert.deepEqual(await play(["train.stepped", 2], ["group.completed", 2]), whole);
});

Deno.test("train.difficulty draws the scenarios more often whose groups are likely to split", async () => {
  // Everything is kept, so that only the weights tell them apart.
  await using run = await pluginRun(ROLES, settings({ probes: 8, keep: [0, 1] }, { steps: 40, group_size: 8 }));
  const { status, error } = await run.start();
  assert.equal(status, "completed", error?.message);
  const drawn = (await run.rows(DRAWN)).map(({ scenario_id }) => String(scenario_id));
  const share = (kind: string) => drawn.filter((id) => id.includes(kind)).length / drawn.length;
  // Half of the scenarios; without weights that would be their share.
  assert.ok(share("half") > 0.62, String(share("half")));
  for (const { id } of SCENARIOS.slice(0, -1)) assert.ok(drawn.includes(id), `${id} is still tried`);
});

Deno.test("train.difficulty ends the run where it leaves nothing, and resumes with another range", async () => {
  const changing = settings({ probes: 2, keep: [0.6, 0.9] });
  await using run = await pluginRun(ROLES, changing);
  const { status, error } = await run.start();
  assert.equal(status, "failed");
  assert.equal((error as { code?: string }).code, "NO_SCENARIO_KEPT");
  assert.equal(
    error!.message,
    "Cannot train: train.difficulty keeps none of 12 training scenarios (left out: 10 with a pass rate below 0.6, " +
      "2 with one above 0.9)",
  );
  Object.assign(changing.train, { difficulty: { probes: 2, keep: [0.4, 0.9] } });
  assert.equal((await run.start({ resume: true })).status, "completed");
});

Deno.test("scenarios that could not be judged are left out, and counted", async () => {
  const broken: Roles["judge"] = {
    ...judge,
    judge: (args) =>
      args.scenario.id === "a-half-1" ? args.group.map(() => ({ invalid: "no view" })) : judge.judge(args),
  };
  await using run = await pluginRun({ ...ROLES, judges: { broken } }, settings({ probes: 2 }));
  assert.equal((await run.start()).status, "completed");
  const said =
    "difficulty: RL trains on 5 of 12 scenarios; left out: 4 with a pass rate below 0.1, 2 with one above 0.9, " +
    "1 that could not be judged";
  assert.ok(run.lines.includes(`info: ${said}`), run.lines.join("\n"));
});
