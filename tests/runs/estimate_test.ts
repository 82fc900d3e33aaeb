/** What a finished run leaves for the estimate of the next one. */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { folder, SCRIPTED, start } from "./hone_process.ts";

Deno.test("validate and --dry-run estimate the time of a run from the one before it", async () => {
  await using dir = await folder();
  const [run_dir, cache] = [join(dir.path, "first"), join(dir.path, "cache")];
  const hone = async (...words: string[]) => {
    const { code, out, err } = await start(words, cache).ended;
    assert.equal(code, 0, err);
    return { out, err };
  };
  await hone("run", SCRIPTED, "--run-dir", run_dir, "--yes", "--set", "train.steps=2");
  const wanted = `time: about \\d+ seconds?, at the speed of run ${basename(run_dir)} \\(\\d{4}-\\d\\d-\\d\\d\\)$`;
  const { out } = await hone("validate", SCRIPTED);
  assert.match(out, new RegExp(`^\\S*: ok\n {2}scenarios: \\d+\n`));
  assert.match(out.trimEnd(), new RegExp(wanted));
  const dry = await hone("run", SCRIPTED, "--dry-run", "--yes");
  assert.match(dry.out, /^# |^name: scripted$/m, "stdout is the pipeline, for a file");
  assert.match(dry.err.trimEnd(), new RegExp(wanted));
});
