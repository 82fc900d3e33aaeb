/**
 * Trackers that are Python libraries, with the real libraries in their own environment: what they wrote is read back by the
 * libraries' own readers.
 */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureWorkerEnv } from "../../mod.ts";
import { execute } from "../../pipeline/program/worker_env.ts";
import carbon from "../../plugins/tracker/carbon.ts";
import tensorboard from "../../plugins/tracker/tensorboard.ts";
import wandb from "../../plugins/tracker/wandb.ts";
import { pluginRun, scenarios, stoppedAt } from "../fixtures/plugin_run.ts";
import { closing, followed, heard, stepped, trackedRun } from "../fixtures/tracked_run.ts";

const READER = fileURLToPath(new URL("./read_back.py", import.meta.url));
const { signal } = new AbortController();

async function inFolder(test: (dir: string) => Promise<void>) {
  const dir = await mkdtemp(join(tmpdir(), "hone-tracking-"));
  try {
    await test(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

// deno-lint-ignore no-explicit-any -- what the reader prints
async function readBack(tracker: string, path: string): Promise<any> {
  const { python } = await ensureWorkerEnv({ backend: "tracking", on_progress: () => {}, signal });
  return JSON.parse(await execute([python, READER, tracker, path], { signal }));
}

/** Without what says where it writes, and the environment's creation. */
const warned = (lines: string[]) => lines.filter((line) => line.startsWith("warn"));
const at = (seq: number) => Date.UTC(2026, 0, 1) / 1000 + seq;
const HOSTILE = { "=cmd|x": 1, "../up": 2, "step": 3, "_step": 4, "a\nb": 5 };

Deno.test("tracker/tensorboard writes what TensorBoard reads, and replaces it when the run is resumed", () =>
  inFolder(async (dir) => {
    const settings = { log_dir: "./boards" };
    // Step 2 was not committed before the process died.
    await followed(tensorboard, settings, trackedRun(dir), [stepped(1, 1), stepped(2, 2, { reward_mean: 9 })]);
    const resumed = trackedRun(dir, [stepped(1, 1)]);
    const lines = await followed(tensorboard, settings, resumed, [stepped(5, 2, HOSTILE), ...closing(6)]);
    assert.deepEqual(warned(lines), []);
    const { scalars, texts } = await readBack("tensorboard", join(dir, "boards/r1"));
    assert.deepEqual(scalars["rl/loss"], [[1, at(1), 1], [2, at(5), 0.5]]);
    assert.deepEqual(scalars["rl/reward_mean"], [[1, at(1), 0.25]]);
    assert.deepEqual(scalars["evaluation/heldout/tuned/greedy/success_low"], [[2, at(6), 0.25]]);
    assert.deepEqual([scalars["rl/_cmd_x"], scalars["rl/_/up"], scalars["rl/a_b"]].map(([point]) => point[2]), [
      1,
      2,
      5,
    ]);
    assert.deepEqual(texts, {
      settings: ['    seed: 7\n    train.group_size: 8\n    model: "tiny"\n'],
      verdict: ["Tuned is better."],
    });
  }));

Deno.test("tracker/wandb writes offline what W&B reads, all of it in each start's folder, and nothing about the machine", () =>
  inFolder(async (dir) => {
    const settings = { project: "files", tags: ["seed-7"] };
    const first = await followed(wandb, settings, trackedRun(dir), [stepped(1, 1)]);
    const resumed = trackedRun(dir, [stepped(1, 1)]);
    const lines = await followed(wandb, settings, resumed, [stepped(5, 2, HOSTILE), ...closing(6)]);
    assert.deepEqual(warned([...first, ...lines]), []);
    const folders = (await readdir(join(dir, "wandb"))).filter((name) => name.startsWith("offline-run-")).sort();
    assert.equal(folders.length, 2);
    const path = join(dir, "wandb", folders[1]!);
    const { history, summary, config, run, exit } = await readBack("wandb", join(path, "run-r1.wandb"));
    assert.deepEqual(run, { id: "r1", project: "files", name: "r1", tags: ["seed-7"], host: "localhost" });
    assert.deepEqual({ ...config, _wandb: 0 }, { seed: 7, "train.group_size": 8, model: "tiny", _wandb: 0 });
    // deno-lint-ignore no-explicit-any -- rows of the history
    const rows = history.map((row: any) => [row._step, row.step, row.recorded_at, row["rl/loss"]]);
    assert.deepEqual(rows.slice(0, 2), [[1, 1, at(1), 1], [5, 2, at(5), 0.5]]);
    assert.equal(history[1]["rl/_cmd_x"], 1);
    assert.equal(history[2]["evaluation/heldout/tuned/greedy/success"], 0.5);
    assert.deepEqual([summary.status, summary.verdict, exit], ["completed", "Tuned is better.", 0]);
    const files = await readdir(path, { recursive: true });
    assert.deepEqual(files.filter((name) => /metadata|diff|code\//.test(name)), []);
  }));

Deno.test("tracker/wandb says what online needs, and nothing is written online without a key", () =>
  inFolder(async (dir) => {
    const lines = await followed(wandb, { mode: "online" }, trackedRun(dir), [stepped(1, 1)]);
    assert.equal(warned(lines).length, 1, lines.join("\n"));
    assert.match(warned(lines)[0]!, /^warn: Weights & Biases records nothing more: Cannot open the tracker: /);
    assert.ok(
      warned(lines)[0]!.endsWith(
        "Set WANDB_API_KEY (and WANDB_BASE_URL for a server of your own), or `mode: offline`. The run goes on; all figures are in its run.duckdb.",
      ),
      warned(lines)[0],
    );
  }));

Deno.test("tracker/carbon measures energy and emissions as metrics of the run, and adds them to those of earlier starts", () =>
  inFolder(async (dir) => {
    const settings = { country_iso_code: "DEU", measure_secs: 1 };
    const earlier = heard(1, "metric.recorded", { name: "carbon/energy_kwh", value: 100, step: 1 });
    const run = trackedRun(dir, [earlier]);
    assert.deepEqual(warned(await followed(carbon, settings, run, [stepped(3, 2)])), []);
    const energy = run.measured.filter(({ name }) => name === "carbon/energy_kwh");
    assert.ok(energy.length >= 2 && energy.every(({ value }) => value > 100 && value < 101), JSON.stringify(energy));
    assert.ok(energy.every(({ step }) => step === 2));
    const kg = run.measured.filter(({ name }) => name === "carbon/emissions_kg").at(-1)!.value;
    const [header, row, ...more] = (await readFile(join(dir, "emissions.csv"), "utf8")).trim().split("\n");
    assert.deepEqual(more, []);
    const cells = Object.fromEntries(header!.split(",").map((name, i) => [name, row!.split(",")[i]]));
    assert.deepEqual([cells.project_name, cells.country_iso_code, cells.tracking_mode], ["small", "DEU", "machine"]);
    assert.ok(kg > 0 && Number(cells.emissions) >= kg);
  }));

Deno.test("tracker/carbon says which codes of countries there are", () =>
  inFolder(async (dir) => {
    const lines = await followed(carbon, { country_iso_code: "XYZ" }, trackedRun(dir), [stepped(1, 1)]);
    assert.deepEqual(warned(lines), [
      "warn: CodeCarbon records nothing more: Cannot open the tracker: CodeCarbon knows no country 'XYZ'. `country_iso_code` " +
      "is of three letters (ISO 3166-1 alpha-3), such as DEU, FRA or USA. The run goes on; all figures are in its run.duckdb.",
    ]);
  }));

Deno.test("a run with every Python tracker, stopped and resumed, has its energy in its records", async () => {
  const source = { produce: () => scenarios(4, 6) };
  const built_in = [
    { use: "tracker/tensorboard" },
    { use: "tracker/wandb" },
    { use: "tracker/carbon", with: { country_iso_code: "FRA" } },
    { use: "tracker/csv" },
  ];
  const settings = { ladder: ["rl"], train: { steps: 2, group_size: 2, groups_per_step: 2 } };
  await using run = await pluginRun({ built_in, source }, settings);
  assert.equal((await run.start(stoppedAt("train.stepped"))).status, "interrupted");
  assert.equal((await run.start({ resume: true })).status, "completed");
  assert.deepEqual(warned(run.lines), []);
  assert.deepEqual(run.lines.filter((line) => line.includes("not delivered")), []);
  const energy = await run.rows("SELECT value FROM metrics WHERE name = 'carbon/energy_kwh' ORDER BY seq");
  const values = energy.map(({ value }) => Number(value));
  assert.ok(values.length >= 2 && values.every((value, i) => value >= (values[i - 1] ?? 0)), String(values));
  const { scalars } = await readBack("tensorboard", join(run.run_dir, "tensorboard"));
  // deno-lint-ignore no-explicit-any -- points
  assert.deepEqual(scalars["rl/loss"].map(([step, , value]: any) => [step, value]), [[1, 1], [2, 0.5]]);
});
