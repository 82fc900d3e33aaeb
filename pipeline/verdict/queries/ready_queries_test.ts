import assert from "node:assert/strict";
import { join } from "node:path";
import { Store } from "../../store/store.ts";
import { writeRun } from "../../../tests/fixtures/stored_run.ts";
import { READY_QUERIES, withValue } from "./ready_queries.ts";

type Rows = Record<string, unknown>[];

async function withRun(work: (ask: (name: string, value?: string) => Promise<Rows>, store: Store) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  try {
    await using store = await Store.open(join(dir, "run.duckdb"), { run_id: "files-1", mode: "create" });
    await writeRun(store, "files-1", { ended: true });
    await work((name, value) => store.query(withValue(READY_QUERIES[name]!, value)), store);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Queries that the stored run has nothing for. */
const EMPTY = ["zero_variance_groups", "validations", "judge_agreement"];

Deno.test("every ready-made query runs on a stored run, and finds what is in it", async (t) => {
  await withRun(async (ask) => {
    for (const name of Object.keys(READY_QUERIES)) {
      await t.step(name, async () => {
        const rows = await ask(name);
        assert.equal(rows.length === 0, EMPTY.includes(name));
      });
    }
  });
});

Deno.test("@failure_clusters and @confusion count the failures of each policy, each with an example", async () => {
  await withRun(async (ask) => {
    const clusters = (await ask("failure_clusters")).filter((row) => row.sampling === "greedy");
    const shown = clusters.map(({ policy, outcome, rollouts, example_scenario }) => [
      policy,
      outcome,
      rollouts,
      example_scenario,
    ]);
    assert.deepEqual(shown, [
      ["base", "answered", 7, "h1"],
      ["base", "answered", 1, "h0"],
      ["tuned", "answered", 2, "h6"],
      ["warm_start", "answered", 5, "h3"],
    ]);
    assert.deepEqual(
      (await ask("confusion")).map(({ policy, sampling, expected, taken, rollouts }) => [
        policy,
        sampling,
        expected,
        taken,
        rollouts,
      ]),
      [
        ["base", "greedy", "read_file", null, 4],
        ["base", "greedy", "write_file", null, 4],
        ["base", "sampled", "read_file", null, 4],
        ["base", "sampled", "write_file", null, 4],
        ["tuned", "greedy", "read_file", "write_file", 1],
        ["tuned", "sampled", "read_file", "write_file", 1],
        ["warm_start", "greedy", "read_file", "write_file", 3],
        ["warm_start", "sampled", "read_file", "write_file", 3],
      ],
    );
  });
});

Deno.test("@signal_per_step and @step tell what a step learned from", async () => {
  await withRun(async (ask) => {
    const steps = (await ask("signal_per_step")).map((row) => [row.step, row.groups, row.rollouts, row.successes]);
    assert.deepEqual(steps, [[1, 4, 4, 1], [2, 4, 4, 2]]);
    const worst = await ask("step", "2");
    assert.deepEqual(
      worst.map(({ step, scenario_id, success, success_in_other_steps }) => [
        step,
        scenario_id,
        success,
        success_in_other_steps,
      ]),
      [
        [2, "t0", 1, 1],
        [2, "t2", 0, 0],
        [2, "t3", 0, 0],
        [2, "t1", 1, 0],
      ],
    );
  });
});

Deno.test("@step and @scenario have no success for rollouts that could not be judged", async () => {
  await withRun(async (ask, store) => {
    const of = "SELECT rollout_id, group_id FROM rollouts WHERE scenario_id";
    const unjudged = await store.query(
      `${of} = 't1' AND step = 2 UNION ALL (${of} = 'h0' AND policy = 'tuned' AND temperature = 0)`,
    );
    assert.equal(unjudged.length, 2);
    for (const [index, { rollout_id, group_id }] of unjudged.entries()) {
      const data = {
        rollout_id: String(rollout_id),
        group_id: String(group_id),
        success: false,
        invalid: "judge: too dark",
      };
      const at = { seq: 1_000_000 + index, at: 1, run_id: store.run_id, source: "shaper" };
      await store.append({ ...at, type: "reward.shaped", data });
    }
    const shown = (await ask("step", "2")).map(({ scenario_id, success }) => [scenario_id, success]);
    assert.deepEqual(shown, [["t0", 1], ["t2", 0], ["t3", 0], ["t1", null]]);
    const tuned = (await ask("scenario", "h0")).filter((row) => row.policy === "tuned" && row.sampling === "greedy");
    assert.deepEqual(tuned.map(({ success, reward }) => [success, reward]), [[null, null]]);
  });
});

Deno.test("withValue() quotes what it is given", async () => {
  await withRun(async (ask) => {
    assert.deepEqual(await ask("scenario", "h1' OR TRUE --$'"), []);
    assert.deepEqual([...new Set((await ask("scenario", "h2")).map((row) => row.scenario_id))], ["h2"]);
  });
});
