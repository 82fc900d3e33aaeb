import assert from "node:assert/strict";
import { join } from "node:path";
import { lockRun } from "../../pipeline/store/live_run.ts";
import { serveControl } from "../../pipeline/store/run_control.ts";
import { Bus } from "../../pipeline/bus.ts";
import { Store } from "../../pipeline/store/store.ts";
import { writeRun } from "../../tests/fixtures/stored_run.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import report from "./report.ts";

const PIPELINE = "name: files\nseed: 7\nstages: []\nevaluate:\n  sampling: [greedy, sampled]\n";

async function run(dir: string, format: string): Promise<string> {
  const { code, out, err } = await runVerb(report, { positional: [dir], format });
  assert.deepEqual([code, err], [0, []]);
  return out.join("\n");
}

Deno.test("report makes the verdict and the reports anew when a run has ended", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(dir, "pipeline.yaml"), PIPELINE);
    {
      await using store = await Store.open(join(dir, "run.duckdb"), { run_id: "files-1", mode: "create" });
      await writeRun(store, "files-1");
    }
    const shown = await run(dir, "text");
    assert.match(shown, /^Tuned solves 6 of 8 held-out scenarios, base 0: \+0\.75 /);
    assert.ok(shown.endsWith(join(dir, "report.html")));
    assert.ok((await Deno.readTextFile(join(dir, "report.html"))).includes("<span>interrupted</span>"));
    const json = JSON.parse(await run(dir, "json"));
    assert.equal(json.verdict.difference.mean, 0.75);
    assert.equal(json.files.markdown, join(dir, "report.md"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("report reads through the process that holds the run when it is alive", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(dir, "pipeline.yaml"), PIPELINE);
    await using store = await Store.open(join(dir, "run.duckdb"), { run_id: "files-1", mode: "create" });
    await writeRun(store, "files-1");
    await using _lock = await lockRun(dir);
    const nothing = () => {};
    const bus = new Bus("files-1");
    await using _control = await serveControl({
      run_dir: dir,
      store,
      bus,
      status: () => ({}),
      on_pause: nothing,
      on_cancel: nothing,
    });
    assert.match(
      await run(dir, "text"),
      /^Tuned solves 6 of 8.*\n- The run is still in progress: these figures are provisional\.\n/,
    );
    assert.ok((await Deno.readTextFile(join(dir, "report.html"))).includes("<span>running</span>"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
