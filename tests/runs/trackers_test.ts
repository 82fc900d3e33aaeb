/** Trackers in whole runs: what they show is what is recorded, in a run that goes through and in one that is resumed. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Envelope, Roles, TrackedRun } from "../../mod.ts";
import { MlflowStandIn } from "../fixtures/mlflow_stand_in.ts";
import { pluginRun, scenarios, stoppedAt } from "../fixtures/plugin_run.ts";

const SMALL = {
  ladder: ["rl"],
  train: { steps: 3, group_size: 2, groups_per_step: 2, replace_equal_groups: 1 },
  evaluate: { policies: ["base", "tuned"] },
};

/** Enough held-out scenarios for a verdict without a warning. */
const source: Roles["scenario-source"] = { produce: () => scenarios(4, 6) };

Deno.test("a resumed run's trackers show each step and evaluation once, at a file and at a server", async () => {
  await using server = new MlflowStandIn();
  const built_in = [{ use: "tracker/csv" }, { use: "tracker/mlflow", with: { tracking_uri: server.uri } }];
  await using run = await pluginRun({ built_in, source }, SMALL);
  assert.equal((await run.start(stoppedAt("train.stepped", 2))).status, "interrupted");
  assert.deepEqual(server.runs.map(({ status }) => status), ["KILLED"]);
  assert.equal((await run.start({ resume: true })).status, "completed");
  assert.deepEqual(run.lines.filter((line) => line.startsWith("warn")), []);
  const steps = await run.rows("SELECT optimizer_step AS step, loss FROM train_steps ORDER BY seq");
  const evaluations = await run.rows(
    "SELECT policy, mean FROM evaluations WHERE split = 'heldout' AND temperature = 0 ORDER BY seq",
  );
  assert.deepEqual([steps.length, evaluations.length], [3, 2]);
  const expected = [
    ...steps.map(({ step, loss }) => `${step},rl/loss,${loss}`),
    ...evaluations.map(({ policy, mean }) =>
      `${policy === "base" ? 0 : 3},evaluation/heldout/${policy}/greedy/success,${mean}`
    ),
  ].sort();
  const ours = (name: string) => /^rl\/loss$|^evaluation\/heldout\/\w+\/greedy\/success$/.test(name);
  const rows = (await readFile(join(run.run_dir, "metrics.csv"), "utf8")).trim().split("\n").slice(1)
    .map((line) => line.split(",").slice(2)).filter(([, name]) => ours(name!));
  assert.deepEqual(rows.map((row) => row.join()).sort(), expected);
  const [{ metrics, status, params }] = server.runs as [typeof server.runs[number]];
  assert.equal(server.runs.length, 1);
  assert.deepEqual(metrics.filter(({ key }) => ours(key)).map((m) => `${m.step},${m.key},${m.value}`).sort(), expected);
  assert.equal(status, "FINISHED");
  assert.deepEqual([params["train.steps"], params.stages], [
    "3",
    "scenario-source/source, rollout/rollout, judge/good, trainer/trainer, tracker/csv, tracker/mlflow, reward-shaper/weighted",
  ]);
});

Deno.test("what a tracker measures is a metric of the run, which other trackers and a resumed one hear", async () => {
  const begun: TrackedRun[] = [];
  const heard: Envelope[] = [];
  const meter: Roles["tracker"] = {
    begin: (run) => void begun.push(run),
    on: ({ type, data }) => {
      if (type !== "train.stepped") return;
      const { step } = data as { step: number };
      begun.at(-1)!.record({ name: "meter/energy_kwh", value: step / 10, step });
    },
  };
  const other: Roles["tracker"] = { on: (event) => void heard.push(event) };
  await using run = await pluginRun({ trackers: { meter, other } }, SMALL);
  assert.equal((await run.start(stoppedAt("train.stepped", 2))).status, "interrupted");
  assert.equal((await run.start({ resume: true })).status, "completed");
  const measured =
    "SELECT name, value, kind, optimizer_step AS step FROM metrics WHERE name LIKE 'meter/%' ORDER BY seq";
  const expected = [1, 2, 3].map((step) => ({ name: "meter/energy_kwh", value: step / 10, step }));
  assert.deepEqual(await run.rows(measured), expected.map((one) => ({ ...one, kind: null })));
  assert.deepEqual(heard.filter(({ source }) => source === "meter").map(({ data }) => data), expected);
  assert.deepEqual(begun[0]!.recorded, []);
  // Every event as it was heard the first time.
  const first = begun[1]!.recorded.length;
  const kinds = ["train.stepped", "evaluation.completed", "metric.recorded"];
  assert.deepEqual(
    begun[1]!.recorded,
    heard.filter(({ type }) => kinds.includes(type)).slice(0, first)
      .map(({ cause: _, ...event }) => event),
  );
  assert.ok(first > 4);
  assert.equal(begun[1]!.dir, run.run_dir);
});

Deno.test("trackers that fail in every way change nothing but the log", async () => {
  const broken: Roles["tracker"] = { begin: () => Promise.reject(new Error("no disk")), on: () => {} };
  const wrong: Roles["tracker"] = { begin: (run) => run.record({ name: "x", value: NaN, step: 0 }), on: () => {} };
  const closed = new MlflowStandIn();
  const tracking_uri = closed.uri;
  await closed[Symbol.asyncDispose]();
  const built_in = [{ use: "tracker/mlflow", with: { tracking_uri } }];
  await using run = await pluginRun({ trackers: { broken, wrong }, built_in, source }, SMALL);
  assert.equal((await run.start()).status, "completed");
  const warnings = run.lines.filter((line) => line.startsWith("warn")).sort();
  assert.equal(warnings.length, 3, warnings.join("\n"));
  assert.match(
    warnings[0]!,
    new RegExp(`^warn: mlflow: Cannot reach the MLflow server at "${tracking_uri}": .*refused`),
  );
  assert.equal(warnings[1], "warn: tracker broken (tracker/broken) failed and may miss events: no disk");
  assert.equal(
    warnings[2],
    "warn: tracker wrong (tracker/wrong) failed and may miss events: Cannot publish metric.recorded: value is null, " +
      "which is not of the event's shape",
  );
});
