import assert from "node:assert/strict";
import { join } from "node:path";
import { fakeTrajectory } from "@hone/hone/testing";
import { openRun } from "../../pipeline/store/live_run.ts";
import { liveRun, runVerb } from "../../tests/fixtures/small_run.ts";
import label from "./label.ts";
import query from "./query.ts";

/** Gives `work` a live run with the rollouts r1 and r2; `end` ends it. */
async function labelled(work: (run_dir: string, end: () => Promise<void>, dir: string) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  try {
    const { run_dir, bus, end } = await liveRun(dir, "files-1");
    for (const rollout_id of ["r1", "r2"]) {
      const { turns: _t, tool_calls: _c, outcome, observations: _o, seconds, ...ref } = fakeTrajectory({ rollout_id });
      bus.publish("rollout", "rollout.requested", ref);
      await bus.publish("rollout", "rollout.completed", { ...ref, outcome, seconds });
    }
    await work(run_dir, () => end("completed"), dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const say = (positional: string[], args = {}, format = "text") => runVerb(label, { positional, args, format });
const list = async (run_dir: string) => JSON.parse((await say([run_dir], { list: true }, "json")).out[0]!).labels;

Deno.test("label records a thumb on a live run through its process, and on an ended one in its file", async () => {
  await labelled(async (run_dir, end) => {
    const live = await say([run_dir, "r1", "up"], { reason: "polite", by: "Ada" });
    assert.deepEqual(live, { code: 0, out: ["1 label recorded"], err: [] });
    await end();
    assert.equal((await say([run_dir, "r1", "down"], { by: "Bob" })).code, 0);
    // The last label of a person counts.
    assert.equal((await say([run_dir, "r1", "down"], { reason: "rude after all", by: "Ada" })).code, 0);
    assert.deepEqual(await list(run_dir), [
      { rollout_id: "r1", score: 0, reason: "", labelled_by: "Bob" },
      { rollout_id: "r1", score: 0, reason: "rude after all", labelled_by: "Ada" },
    ]);
    const shown = await say([run_dir], { list: true });
    assert.deepEqual(shown.out, [
      "rollout_id  score  reason          labelled_by\n" +
      "r1              0                  Bob\n" +
      "r1              0  rude after all  Ada",
    ]);
    const records = "SELECT (SELECT count(*) FROM label_records) AS labels, count(*) = max(seq) AS gapless, " +
      "(SELECT status FROM runs) AS status FROM events";
    const { out } = await runVerb(query, { positional: [run_dir, records], format: "json" });
    assert.deepEqual(JSON.parse(out[0]!), [{ labels: 3, gapless: true, status: "completed" }]);
  });
});

Deno.test("label imports what the report saves, as a whole or not at all", async () => {
  await labelled(async (run_dir, end, dir) => {
    await end();
    const path = join(dir, "labels.json");
    const imported = async (content: unknown) => {
      await Deno.writeTextFile(path, typeof content === "string" ? content : JSON.stringify(content));
      return await say([run_dir], { import: path, by: "Ada" });
    };
    const given = [{ rollout_id: "r1", score: 1 }, { rollout_id: "r2", score: 0, reason: "wrong", labelled_by: "Bob" }];
    assert.deepEqual((await imported({ schema: "labels.v1", run_id: "files-1", labels: given })).out, [
      "2 labels recorded",
    ]);
    assert.deepEqual((await imported([{ rollout_id: "r2", score: 1 }])).out, ["1 label recorded"]);
    const labels = [
      { rollout_id: "r1", score: 1, reason: "", labelled_by: "Ada" },
      { rollout_id: "r2", score: 0, reason: "wrong", labelled_by: "Bob" },
      { rollout_id: "r2", score: 1, reason: "", labelled_by: "Ada" },
    ];
    assert.deepEqual(await list(run_dir), labels);
    const shown = JSON.stringify(path);
    const refused: [unknown, string][] = [
      ["{", `Cannot import labels from ${shown}: it is not JSON`],
      [
        [{ rollout_id: "r1", score: 2 }, { rollout: "r2" }],
        `Cannot import labels from ${shown}: 0.score: Too big: expected number to be <=1; ` +
        '1.rollout_id: Invalid input: expected string, received undefined; 1.score: Invalid input: expected number, received undefined; 1: Unrecognized key: "rollout"',
      ],
      [
        { run_id: "other", labels: [] },
        `Cannot import labels from ${shown}: they are of run "other", not of "files-1"`,
      ],
      [
        [{ rollout_id: "r1", score: 0 }, { rollout_id: "r9", score: 1 }],
        `Cannot label "r9": no such rollout in run ${JSON.stringify(run_dir)}`,
      ],
    ];
    for (const [content, message] of refused) await assert.rejects(imported(content), { message });
    assert.deepEqual(await list(run_dir), labels);
    const run_row = await (async () => {
      await using run = await openRun(run_dir);
      return await run.query("SELECT count(*) AS n FROM label_records");
    })();
    assert.deepEqual(run_row, [{ n: 3 }]);
  });
});

Deno.test("label says what it needs", async () => {
  await labelled(async (run_dir, end) => {
    const cases: [string[], object, string][] = [
      [[run_dir], {}, "Cannot label: expected a rollout and up or down, --import or --list"],
      [[run_dir, "r1"], {}, "Cannot label: no thumb is given: expected up or down"],
      [[run_dir, "r1", "great"], {}, 'Cannot label with "great": expected up or down'],
      [[run_dir, "r1", "toString"], {}, 'Cannot label with "toString": expected up or down'],
      [[run_dir, "r1", "up"], { list: true }, "Cannot use --list together with a rollout: expected one of them"],
      [[run_dir, "r3", "up"], {}, `Cannot label "r3": no such rollout in run ${JSON.stringify(run_dir)}`],
    ];
    for (const [positional, args, message] of cases) await assert.rejects(say(positional, args), { message });
    await end();
  });
});
