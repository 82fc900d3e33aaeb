import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { KIND_NAMES } from "../../pipeline/kinds.ts";
import { loadPlugin } from "../../pipeline/loader.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import newVerb from "./new.ts";

function run(positional: string[], dir: string) {
  return runVerb(newVerb, { positional, args: { dir }, format: "json" });
}

async function withFolder(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "hone-new-"));
  try {
    await work(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

Deno.test("new writes plugins of every kind that type-check, lint and pass their own tests outside the repository", () =>
  withFolder(async (dir) => {
    for (const kind of KIND_NAMES) assert.equal((await run([kind, `my-${kind}`], dir)).code, 0);
    const deno = (...args: string[]) =>
      promisify(execFile)(Deno.execPath(), args, { cwd: dir, env: { ...Deno.env.toObject(), NO_COLOR: "1" } });
    await deno("check", ".");
    await deno("lint", "--rules-exclude=require-await", ".");
    const { stdout } = await deno("test", "-A", "--no-check");
    assert.match(stdout, new RegExp(`ok \\| ${KIND_NAMES.length * 7 + 1} passed \\| 0 failed`));
  }));

Deno.test("new writes a plugin that loads by its path from a pipeline outside the repository", () =>
  withFolder(async (dir) => {
    const { out } = await run(["judge", "tone"], dir);
    assert.deepEqual(
      JSON.parse(out[0]!).written,
      ["tone.ts", "tone_test.ts", "deno.json"].map((file) => join(dir, file)),
    );
    const plugin = await loadPlugin("./tone.ts", { base_dir: dir, builtins: {} });
    assert.equal(plugin.name, "tone");
    assert.deepEqual(plugin.config.parse({}), { word: "done" });
  }));

Deno.test("new leaves what is there as it is", () =>
  withFolder(async (dir) => {
    await run(["judge", "tone"], dir);
    const before = await readFile(join(dir, "tone.ts"), "utf8");
    await assert.rejects(run(["exporter", "tone"], dir), (error) =>
      error instanceof HoneError &&
      error.message === `Cannot write "${join(dir, "tone.ts")}": the file already exists`);
    assert.equal(await readFile(join(dir, "tone.ts"), "utf8"), before);
    assert.deepEqual((await run(["judge", "other"], dir)).err, ["deno.json already exists and was not changed"]);
  }));

Deno.test("new refuses kinds and names that no pipeline could use", () =>
  withFolder(async (dir) => {
    const message = (wanted: string) => (error: unknown) => error instanceof HoneError && error.message === wanted;
    await assert.rejects(
      run(["juge", "tone"], dir),
      message(
        'Cannot create a plugin of kind "juge": expected one of discoverer, scenario-source, rollout, judge, reward-shaper, trainer, exporter, tracker',
      ),
    );
    await assert.rejects(
      run(["judge", "Tone!"], dir),
      message(
        'Cannot name a plugin "Tone!": expected lower-case letters, digits and -, as in exact-match',
      ),
    );
  }));
