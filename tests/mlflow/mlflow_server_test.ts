/**
 * tracker/mlflow at a real MLflow server (plugins/trainer/worker/tests/mlflow_server.py), which is asked by its own REST API
 * what it holds. Run: deno task test:mlflow
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { cacheDir } from "../../mod.ts";
import { findPython } from "../../pipeline/program/worker_env.ts";
import mlflow from "../../plugins/tracker/mlflow.ts";
import { pluginRun, scenarios, stoppedAt } from "../fixtures/plugin_run.ts";
import { closing, followed, stepped, trackedRun } from "../fixtures/tracked_run.ts";

const SERVER = fileURLToPath(new URL("../../plugins/trainer/worker/tests/mlflow_server.py", import.meta.url));

interface Server extends AsyncDisposable {
  uri: string;
  // deno-lint-ignore no-explicit-any -- what the server answers
  ask(method: string, body: object): Promise<any>;
}

/** Starts the server with the experiments in `dir`. */
async function server(dir: string, port = 0): Promise<Server> {
  const python = await findPython({ signal: new AbortController().signal }, false);
  const env = { ...Deno.env.toObject(), HONE_TEST_CACHE: cacheDir() };
  const child = spawn(python, [SERVER, dir, String(port)], { env, stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((resolve) => child.once("close", resolve));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const uri = String((await lines.next()).value);
  return {
    uri,
    async ask(method, body) {
      const response = await fetch(`${uri}/api/2.0/mlflow/${method}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      return await response.json();
    },
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await ended;
    },
  };
}

/** All points of a metric, in the order of the steps. */
async function points({ uri }: Server, run_id: string, key: string) {
  const query = new URLSearchParams({ run_id, metric_key: key });
  const response = await fetch(`${uri}/api/2.0/mlflow/metrics/get-history?${query}`);
  const { metrics } = await response.json() as { metrics: { step: number; value: number; timestamp: number }[] };
  return metrics.map(({ step, value, timestamp }) => [step, value, timestamp]);
}

const pairs = (all: { key: string; value: string }[]) => Object.fromEntries(all.map(({ key, value }) => [key, value]));

Deno.test("tracker/mlflow at a real server", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "hone-mlflow-"));
  const stores = join(dir, "server");
  let port = 0;
  try {
    {
      await using at = await server(stores);
      const settings = { tracking_uri: at.uri, experiment_name: "tools of Zoë/1" };
      port = Number(new URL(at.uri).port);

      await t.step("a run, resumed after its process died, is one run there, and no point is twice", async () => {
        const hostile = { '=cmd|"x"!A1': 1, "../up": 2, "ü": 3, ["n".repeat(400)]: 4 };
        await followed(mlflow, settings, trackedRun(dir), [stepped(1, 1, hostile)]);
        const resumed = trackedRun(dir, [stepped(1, 1, hostile)]);
        resumed.settings = { ...resumed.settings, seed: 8, ladder: "rl" };
        assert.deepEqual(await followed(mlflow, settings, resumed, [stepped(5, 2), ...closing(6)]), []);
        const { experiments } = await at.ask("experiments/search", {
          filter: "name = 'tools of Zoë/1'",
          max_results: 9,
        });
        assert.equal(experiments.length, 1);
        const { experiment_id } = experiments[0];
        const { runs } = await at.ask("runs/search", { experiment_ids: [experiment_id], max_results: 9 });
        assert.equal(runs.length, 1);
        const [{ info, data }] = runs;
        assert.deepEqual([info.status, info.run_name], ["FINISHED", "r1"]);
        assert.deepEqual(pairs(data.params), { seed: "7", "train.group_size": "8", model: "tiny", ladder: "rl" });
        const tags = pairs(data.tags);
        assert.deepEqual([tags["hone.run_id"], tags["hone.verdict"]], ["r1", "Tuned is better."]);
        const at_second = (seq: number) => Date.UTC(2026, 0, 1) + seq * 1000;
        assert.deepEqual(await points(at, info.run_id, "rl/loss"), [[1, 1, at_second(1)], [2, 0.5, at_second(5)]]);
        assert.deepEqual(await points(at, info.run_id, "rl/_/up"), [[1, 2, at_second(1)]]);
      });

      await t.step("a deleted experiment is named", async () => {
        const { experiment_id } = await at.ask("experiments/create", { name: "gone" });
        await at.ask("experiments/delete", { experiment_id });
        const gone = { ...settings, experiment_name: "gone" };
        const [line] = await followed(mlflow, gone, trackedRun(dir), []);
        assert.ok(line!.startsWith('warn: The MLflow experiment "gone" has been deleted. Restore it'), line);
      });

      await t.step("1500 figures and 250 settings arrive", async () => {
        const metrics = Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`m${i}`, i]));
        const run = {
          ...trackedRun(dir),
          run_id: 'it\'s "many"',
          settings: Object.fromEntries(Object.entries(metrics).slice(0, 250)),
        };
        assert.deepEqual(await followed(mlflow, { tracking_uri: at.uri }, run, [stepped(1, 1, metrics)]), []);
        const { experiments } = await at.ask("experiments/search", { filter: "name = 'hone'", max_results: 9 });
        const { runs } = await at.ask("runs/search", {
          experiment_ids: [experiments[0].experiment_id],
          max_results: 9,
        });
        assert.deepEqual([runs[0].data.metrics.length, runs[0].data.params.length], [1503, 250]);
      });
    }

    await t.step("a server that comes back while the run goes on has everything in the end", async () => {
      const source = { produce: () => scenarios(4, 6) };
      const settings = { ladder: ["rl"], train: { steps: 2, group_size: 2, groups_per_step: 2 } };
      const built_in = [{ use: "tracker/mlflow", with: { tracking_uri: `http://127.0.0.1:${port}` } }];
      await using run = await pluginRun({ built_in, source }, settings);
      assert.equal((await run.start(stoppedAt("train.stepped"))).status, "interrupted");
      assert.equal(run.lines.filter((line) => line.startsWith("warn")).length, 1, run.lines.join("\n"));
      await using at = await server(stores, port);
      assert.equal((await run.start({ resume: true })).status, "completed");
      const { experiments } = await at.ask("experiments/search", { filter: "name = 'hone'", max_results: 9 });
      const filter = "params.`train.steps` = '2'";
      const experiment_ids = [experiments[0].experiment_id];
      const { runs } = await at.ask("runs/search", { experiment_ids, filter, max_results: 9 });
      assert.deepEqual(runs.map(({ info }: { info: { status: string } }) => info.status), ["FINISHED"]);
      const loss = await points(at, runs[0].info.run_id, "rl/loss");
      assert.deepEqual(loss.map(([step, value]) => [step, value]), [[1, 1], [2, 0.5]]);
    });
  } finally {
    await rm(dir, { recursive: true });
  }
});
