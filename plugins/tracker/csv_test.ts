import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { appendFile, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Roles } from "@hone/hone";
import { conformance, fakeContext } from "@hone/hone/testing";
import { closing, followed, heard, stepped, trackedRun } from "../../tests/fixtures/tracked_run.ts";
import plugin from "./csv.ts";

conformance(plugin);

const FIRST = `run_id,recorded_at,step,name,value
r1,2026-01-01T00:00:01.000Z,1,rl/loss,1
r1,2026-01-01T00:00:01.000Z,1,rl/reward_mean,0.25
r1,2026-01-01T00:00:01.000Z,1,rl/seconds,2
r1,2026-01-01T00:00:01.000Z,1,rl/staleness,0
`;

async function inFolder(test: (dir: string) => Promise<void>) {
  const dir = await mkdtemp(join(tmpdir(), "hone-csv-"));
  try {
    await test(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

Deno.test("tracker/csv writes steps, evaluations and what is measured, a row for each figure", () =>
  inFolder(async (dir) => {
    const measured = heard(2, "metric.recorded", { name: "carbon/energy_kwh", value: 1e-7, step: 1 });
    const of_step = heard(2, "metric.recorded", { name: "loss", value: 1, step: 1, kind: "rl" });
    const lines = await followed(plugin, {}, trackedRun(dir), [stepped(1, 1), of_step, measured, ...closing(3)]);
    assert.deepEqual(lines, []);
    assert.equal(
      await readFile(join(dir, "metrics.csv"), "utf8"),
      `${FIRST}r1,2026-01-01T00:00:02.000Z,1,carbon/energy_kwh,1e-7
r1,2026-01-01T00:00:03.000Z,1,evaluation/heldout/tuned/greedy/success,0.5
r1,2026-01-01T00:00:03.000Z,1,evaluation/heldout/tuned/greedy/success_low,0.25
r1,2026-01-01T00:00:03.000Z,1,evaluation/heldout/tuned/greedy/success_high,0.75
r1,2026-01-01T00:00:03.000Z,1,evaluation/heldout/tuned/greedy/rollouts,8
r1,2026-01-01T00:00:03.000Z,1,evaluation/heldout/tuned/greedy/seconds,3
`,
    );
  }));

Deno.test("tracker/csv makes the rows of a resumed run those that are recorded, and leaves other runs' alone", () =>
  inFolder(async (dir) => {
    const path = join(dir, "metrics.csv");
    await followed(plugin, { path }, trackedRun(dir), [stepped(1, 1), stepped(2, 2)]);
    // Step 2 was not committed before the process died, in the middle of a row.
    await appendFile(path, "r2,2026-01-01T00:00:01.000Z,1,rl/loss,9\nr1,2026-01-01T00:0");
    await followed(plugin, { path }, trackedRun(dir, [stepped(1, 1)]), [stepped(4, 2, {})]);
    assert.equal(
      await readFile(path, "utf8"),
      FIRST.replace("value\n", "value\nr2,2026-01-01T00:00:01.000Z,1,rl/loss,9\n") +
        `r1,2026-01-01T00:00:04.000Z,2,rl/loss,0.5
r1,2026-01-01T00:00:04.000Z,2,rl/seconds,2
r1,2026-01-01T00:00:04.000Z,2,rl/staleness,0
`,
    );
  }));

Deno.test("tracker/csv takes names that are formulas, paths or lines apart", () =>
  inFolder(async (dir) => {
    const metrics = { '=cmd|"calc"!A1,1\n2': 1, "../../etc": 2, "a//b": 3, "": 4, "-1": 5 };
    const lines = await followed(plugin, {}, trackedRun(dir), [stepped(1, 1, metrics)]);
    assert.deepEqual(lines, []);
    const text = await readFile(join(dir, "metrics.csv"), "utf8");
    assert.deepEqual(text.trim().split("\n").slice(1).map((line) => line.split(",").slice(3).join()), [
      "rl/loss,1",
      "rl/_cmd__calc__A1_1_2,1",
      "rl/_/_/etc,2",
      "rl/a/_/b,3",
      "rl/_,4",
      "rl/_1,5",
      "rl/seconds,2",
      "rl/staleness,0",
    ]);
  }));

Deno.test("tracker/csv says once why it cannot write, and touches no other file", () =>
  inFolder(async (dir) => {
    const path = join(dir, "thesis.csv");
    await writeFile(path, "year,work\n");
    assert.deepEqual(await followed(plugin, { path }, trackedRun(dir), [stepped(1, 1), stepped(2, 2)]), [
      `warn: Cannot write the metrics to "${path}": the file has other columns than hone's. The run goes on; all figures are in its run.duckdb; name another file in \`path\`.`,
      "info: the figures of 2 events were not delivered",
    ]);
    assert.equal(await readFile(path, "utf8"), "year,work\n");
    const [line] = await followed(plugin, { path: dir }, trackedRun(dir), [stepped(1, 1)]);
    assert.equal(
      line,
      `warn: Cannot write the metrics to "${dir}": it is a folder, and a file is expected. The run goes on; all figures are in its run.duckdb; \`hone resume\` completes the file.`,
    );
  }));

Deno.test("tracker/csv says once that the disk is full", () =>
  inFolder(async (dir) => {
    const path = join(dir, "metrics.csv");
    const context = fakeContext(plugin.config.parse({}));
    const role = await plugin.create(context) as Roles["tracker"] & AsyncDisposable;
    await role.begin!(trackedRun(dir));
    while (!existsSync(path)) await setTimeout(2);
    await rm(path);
    await symlink("/dev/full", path);
    for (const step of [1, 2]) await role.on(stepped(step, step));
    await role[Symbol.asyncDispose]();
    assert.deepEqual(context.lines, [
      `warn: Cannot write the metrics to "${path}": no space left on the disk. The run goes on; all figures are in its run.duckdb; \`hone resume\` completes the file.`,
      "info: the figures of 2 events were not delivered",
    ]);
  }));
