/** A run that is killed while a policy is probed, or while groups are replaced, goes on as if nothing had happened. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { leftovers } from "./processes.ts";
import { assertWhole, folder, hone, record, rows, startRun, until } from "./hone_process.ts";

/** One rollout in ten succeeds: most groups have equal rewards. */
const SETTINGS = {
  "stages.scripted.with.gain": 0,
  "train.replace_equal_groups": 2,
  "train.give_up_after": 0,
  "train.difficulty": { probes: 2, keep: [0, 1] },
};

const inGroups = (like: string) =>
  `SELECT 1 FROM turns JOIN rollout_requests USING (rollout_id) WHERE group_id LIKE '${like}'`;

const groupsOf = (run_dir: string) =>
  rows(
    run_dir,
    `SELECT r.group_id, scenario_id, list(success ORDER BY try) AS successes FROM rollouts r JOIN rewards USING (rollout_id)
     WHERE purpose = 'train' OR split = 'train' GROUP BY ALL ORDER BY r.group_id`,
  );

Deno.test("a run killed while it probes or replaces goes on with the same scenarios and rewards", async (t) => {
  await using dir = await folder();
  const whole = join(dir.path, "whole");
  const { code, err } = await startRun(whole, SETTINGS).ended;
  assert.equal(code, 0, err);
  await assertWhole(whole);
  const expected = await groupsOf(whole);
  const replaced = expected.filter(({ group_id }) => /^s\d+-g[23]$/.test(String(group_id)));
  assert.ok(replaced.length > 0, "something was replaced");
  assert.match(err, / step 1: \d of \d groups? with equal rewards replaced by other scenarios\n/);
  assert.match(err, / difficulty: RL trains on 4 of 4 scenarios\n/);
  const free = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };
  const moments = { probe: "eval-warm_start-train-%", replacement: String(replaced[0]!.group_id) };
  await Promise.all(
    Object.entries(moments).map(([moment, like]) =>
      t.step({
        name: `killed in the ${moment}`,
        ...free,
        fn: async () => {
          const run_dir = join(dir.path, moment);
          const running = startRun(run_dir, { ...SETTINGS, "stages.scripted.with.turn_secs": 0.2 });
          await until(running, run_dir, inGroups(like));
          const before = await record(run_dir);
          running.kill("SIGKILL");
          await running.ended;
          assert.deepEqual(await leftovers(run_dir), []);
          const second = await hone("resume", run_dir);
          assert.equal(second.code, 0, second.err);
          await assertWhole(run_dir, before);
          assert.deepEqual(await groupsOf(run_dir), expected);
        },
      })
    ),
  );
});
