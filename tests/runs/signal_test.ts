/** RL on groups without a learning signal: they are replaced where there is work, and a run of nothing else stops. @module */
import assert from "node:assert/strict";
import type { EventName, Scenario } from "../../pipeline/events.ts";
import type { Roles } from "../../pipeline/plugin.ts";
import { alternating, answering, pluginRun, stoppedAt } from "../fixtures/plugin_run.ts";

/** Training scenarios of two families, and one held-out one; groups of the named ones have equal rewards. */
function families(...equal: string[]) {
  const of = (id: string, split: Scenario["split"] = "train"): Scenario => (
    { id, task: `Do ${id}.`, split, tags: [id[0]!], checks: [] }
  );
  const all = ["a", "b"].flatMap((family) => Array.from({ length: 5 }, (_, i) => of(`${family}${i}`)));
  const judge: Roles["judge"] = {
    ...alternating,
    judge: (args) => equal.includes(args.scenario.id) ? args.group.map(() => FAILED) : alternating.judge(args),
  };
  return { source: { produce: () => [...all, of("held", "heldout")] }, judges: { judge } };
}

const FAILED = { score: 0, reason: "" };
const EVALUATE = { policies: ["base"] };
const train = (settings: Record<string, unknown>) => ({
  ladder: ["rl"],
  train: { steps: 2, group_size: 2, groups_per_step: 4, ...settings },
  evaluate: EVALUATE,
});
const GROUPS =
  "SELECT group_id, scenario_id, policy_version FROM rollouts WHERE purpose = 'train' AND try = 0 AND abandoned IS NULL ORDER BY step, len(group_id), group_id";

Deno.test("train.replace_equal_groups samples other scenarios of the same families, up to its number", async () => {
  // The first step draws a0 to a4 and b0 to b4 in a seeded order, two of each.
  const equal = ["a0", "a1", "a2", "b0", "b1", "b2", "b3", "b4"];
  await using run = await pluginRun(families(...equal), train({ replace_equal_groups: 3 }));
  const { status, error } = await run.start();
  assert.equal(status, "completed", error?.message);
  const groups = (await run.rows(GROUPS)).map(({ group_id, scenario_id }) => [group_id, scenario_id] as string[]);
  for (const step of [0, 1]) {
    const own = groups.filter(([id]) => id!.startsWith(`s${step}-`));
    const ids = own.map(([, scenario]) => scenario!);
    assert.equal(new Set(ids).size, ids.length, "no scenario twice in a step");
    assert.deepEqual(ids.slice(0, 4).map((id) => id[0]), ["a", "b", "a", "b"]);
    const dropped = ids.filter((id) => equal.includes(id));
    assert.deepEqual(ids.slice(4).map((id) => id[0]), dropped.slice(0, ids.length - 4).map((id) => id[0]));
    assert.ok(ids.length === 4 + 3 || dropped.length === ids.length - 4);
  }
  assert.ok(groups.length > 8, "something was replaced");
  const steps = await run.rows("SELECT metrics FROM train_steps ORDER BY seq");
  for (const [step, { metrics }] of steps.entries()) {
    const own = groups.filter(([id]) => id!.startsWith(`s${step}-`)).map(([, scenario]) => scenario!);
    const { replacement_groups, zero_variance_groups, signal_groups, valid } = JSON.parse(String(metrics));
    assert.deepEqual({ replacement_groups, zero_variance_groups, signal_groups, valid }, {
      replacement_groups: own.length - 4,
      zero_variance_groups: own.slice(0, 4).filter((id) => equal.includes(id)).length,
      signal_groups: own.filter((id) => !equal.includes(id)).length,
      // Of the drawn groups alone: a step's figures can be compared with the last one's.
      valid: 8,
    });
  }
});

Deno.test("a run that was stopped while groups were replaced goes on with the same scenarios", async () => {
  const equal = ["a0", "a1", "a2", "b0", "b1", "b2"];
  for (const max_staleness of [0, 1]) {
    const settings = train({ replace_equal_groups: 3, max_staleness, steps: 3 });
    const play = async (stops: [EventName, number][]) => {
      await using run = await pluginRun(families(...equal), settings);
      for (const [i, [type, n]] of stops.entries()) {
        assert.equal(
          (await run.start({ ...stoppedAt(type, n, 2), resume: i > 0 })).status,
          "interrupted",
          `${type} ${n}`,
        );
      }
      const { status, error } = await run.start({ resume: stops.length > 0 });
      assert.equal(status, "completed", error?.message);
      return (await run.rows(GROUPS)).map(({ group_id, scenario_id }) => `${group_id} ${scenario_id}`);
    };
    const whole = await play([]);
    assert.ok(whole.length > 12);
    assert.deepEqual(await play([["replacements.requested", 1]]), whole);
    assert.deepEqual(await play([["replacements.requested", 2], ["group.completed", 1]]), whole);
    assert.deepEqual(await play([["batch.ready", 1], ["replacements.requested", 1]]), whole);
  }
});

Deno.test("groups are not replaced beyond a limit of the run, or where there is no other scenario", async () => {
  const equal = ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2", "b3"];
  const limited = { ...train({ replace_equal_groups: 9, steps: 1 }), limits: { rollouts: 9 } };
  await using one = await pluginRun(families(...equal), limited);
  assert.equal((await one.start()).status, "completed");
  assert.equal((await one.rows(GROUPS)).length, 4);
  const why = one.lines.filter((line) => line.includes("not replaced"));
  assert.match(
    why.join(),
    /^info: step 1: \d groups? with equal rewards not replaced: limits\.rollouts \(9\) is used up$/,
  );
  await using all = await pluginRun(families(...equal), train({ replace_equal_groups: 9, steps: 1, give_up_after: 0 }));
  assert.equal((await all.start()).status, "completed");
  assert.equal((await all.rows(GROUPS)).length, 10);
});

Deno.test("a run whose groups all have equal rewards stops with the reason, and resumes where the settings let it", async () => {
  const everything = ["a", "b"].flatMap((family) => [0, 1, 2, 3, 4].map((i) => `${family}${i}`));
  const settings = train({ steps: 5 });
  await using run = await pluginRun(families(...everything), settings);
  for (const resume of [false, true]) {
    const { status, error } = await run.start({ resume });
    assert.equal(status, "failed");
    const { code, hint } = error as { code?: string; hint?: string };
    assert.equal(code, "NO_SIGNAL");
    assert.match(
      hint!,
      /^Give partial credit .* Then start anew, or change \S+pipeline\.yaml, where train\.give_up_after: 0 /,
    );
    assert.equal(
      error!.message,
      "Cannot train on step 3: in 3 consecutive steps, no group had enough rewards that differ (in this one, 8 of 8 are 0), " +
        "so there is nothing to learn from",
    );
  }
  assert.equal((await run.rows("SELECT * FROM train_steps")).length, 2);
  Object.assign(settings.train, { give_up_after: 0 });
  assert.equal((await run.start({ resume: true })).status, "completed");
  const losses = await run.rows("SELECT loss FROM train_steps");
  assert.deepEqual(losses.map(({ loss }) => loss), Array(5).fill(null), "a step without rows has no loss");
  assert.equal(run.lines.filter((line) => line.includes("rows 0, loss none, ")).length, 5, run.lines.join("\n"));
});

Deno.test("RL ends, and the verdict is made, where every rollout succeeds", async () => {
  const solved: Roles["judge"] = { ...alternating, judge: ({ group }) => group.map(() => ({ score: 1, reason: "" })) };
  const play = async (stop?: [EventName, number]) => {
    await using run = await pluginRun({ ...families(), judges: { solved } }, train({ steps: 9, give_up_after: 2 }));
    if (stop) assert.equal((await run.start({ ...stoppedAt(...stop), grace_secs: 2 })).status, "interrupted");
    const { status, verdict } = await run.start({ resume: stop !== undefined });
    assert.deepEqual([status, verdict!.policies.base!.success.mean], ["completed", 1]);
    assert.equal((await run.rows("SELECT * FROM train_steps")).length, 2);
    const why = "stopping after 2 of 9 steps: every rollout of the last 2 steps succeeded (train.give_up_after)";
    assert.ok(run.lines.includes(`warn: ${why}`), run.lines.join("\n"));
  };
  await play();
  await play(["train.stepped", 2]);
});

Deno.test("a run whose rewards are mostly invalid stops, and judges again what failed when it is resumed", async () => {
  let out = true;
  const judge: Roles["judge"] = {
    ...alternating,
    judge: (args) => {
      if (out && !["a0", "b0"].includes(args.scenario.id) && args.group[0]!.purpose === "train") {
        throw new Error("no credit");
      }
      return alternating.judge(args);
    },
  };
  await using run = await pluginRun({ ...families(), judges: { judge } }, train({ groups_per_step: 10, steps: 1 }));
  const { status, error } = await run.start();
  assert.equal(status, "failed");
  assert.equal((error as { code?: string }).code, "MOSTLY_INVALID");
  assert.equal(
    error!.message,
    "Cannot train on step 1: 16 of 20 rewards are invalid (most frequent cause, 16 times: judge: judge failed: no credit)",
  );
  out = false;
  assert.equal((await run.start({ resume: true })).status, "completed");
  const [{ n }] = await run.rows("SELECT count(*) AS n FROM rewards WHERE invalid IS NULL") as [{ n: number }];
  assert.equal(Number(n), 20 + 1);
});

Deno.test("rollouts that failed are made again on resume where they were most of a step", async () => {
  let out = true;
  const rollout: Roles["rollout"] = {
    async *run(args) {
      if (out && args.rollout_id.startsWith("s0") && !args.rollout_id.endsWith("r0")) throw new Error("unplugged");
      return yield* answering.run(args);
    },
  };
  await using run = await pluginRun({ ...families(), rollout }, train({ group_size: 4, steps: 1 }));
  const { error } = await run.start();
  assert.equal(
    error!.message,
    "Cannot train on step 1: 12 of 16 rewards are invalid (most frequent cause, 12 times: unplugged)",
  );
  out = false;
  assert.equal((await run.start({ resume: true })).status, "completed");
});

Deno.test("train.min_group_size leaves smaller groups out, and counts them apart from those with equal rewards", async () => {
  const judge: Roles["judge"] = {
    ...alternating,
    judge: (args) => {
      const scored = alternating.judge(args) as { score: number; reason: string }[];
      const small = args.scenario.id.startsWith("b") && args.group.length > 1;
      return small ? [...scored.slice(0, 2), { invalid: "tired" }] : scored;
    },
  };
  const settings = train({ group_size: 3, min_group_size: 3, steps: 1 });
  await using run = await pluginRun({ ...families(), judges: { judge } }, settings);
  assert.equal((await run.start()).status, "completed");
  const [batch] = await run.rows("SELECT payload FROM events WHERE type = 'batch.ready'");
  const { rows, dropped, metrics } = JSON.parse(String(batch!.payload));
  assert.deepEqual(dropped, { zero_variance: 0, too_small: 2, invalid: 2, truncated: 0 });
  assert.deepEqual([rows, metrics.small_groups, metrics.signal_groups], [6, 2, 2]);
  assert.ok(run.lines.some((line) => line.includes("equal groups 0, groups with too few valid rewards 2, rows 6")));
});
