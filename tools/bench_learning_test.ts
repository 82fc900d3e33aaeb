import assert from "node:assert/strict";
import { join } from "node:path";
import { Store } from "../pipeline/store/store.ts";
import { writeRun } from "../tests/fixtures/stored_run.ts";

Deno.test("bench_learning writes the table of the finished runs and names the missing ones when asked for the table only", async () => {
  const dir = await Deno.makeTempDir();
  try {
    for (const name of ["learning-7", "learning-8", "learning-9", "control-7"]) {
      await Deno.mkdir(join(dir, name));
      await using store = await Store.open(join(dir, name, "run.duckdb"), { run_id: name, mode: "create" });
      await writeRun(store, name, { ended: name !== "learning-8" });
    }
    const document = join(dir, "benchmarks.md");
    const tool = new URL("bench_learning.ts", import.meta.url).pathname;
    const args = ["run", "-A", tool, "--table-only", "--dir", dir, "--document", document, "--control-seeds", "7"];
    const { code, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    const complaints = new TextDecoder().decode(stderr);
    assert.equal(code, 0, complaints);
    assert.match(complaints, /learning-8: not finished, left out of the table/);
    const text = await Deno.readTextFile(document);
    assert.match(
      text,
      /^# Benchmarks\n\n<!-- bench:learning -->\n`deno task bench:learning --table-only .*3 of 4 runs\./,
    );
    assert.match(text, /\| \*\*rewards as they are, 2 seeds pooled\*\* \| greedy \| 0\.00 \(.*\+0\.38 \(/);
    assert.match(text, /\| rewards shuffled, seed 7 \| greedy \|/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("bench_learning compares two trainers in a block of its own when it is given another trainer", async () => {
  const dir = await Deno.makeTempDir();
  try {
    for (const name of ["learning-7", "lightning-7"]) {
      await Deno.mkdir(join(dir, name));
      await using store = await Store.open(join(dir, name, "run.duckdb"), { run_id: name, mode: "create" });
      await writeRun(store, name, { ended: true });
    }
    const document = join(dir, "benchmarks.md");
    const tool = new URL("bench_learning.ts", import.meta.url).pathname;
    const args = ["run", "-A", tool, "--trainer", "lightning", "--table-only", "--dir", dir, "--document", document];
    const { code, stderr } = await new Deno.Command(Deno.execPath(), { args: [...args, "--seeds", "7"] }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    const text = await Deno.readTextFile(document);
    assert.match(text, /^# Benchmarks\n\n<!-- bench:learning lightning -->\n`deno task .*2 of 2 runs\./);
    assert.match(text, /\| trainer\/mlx, seed 7 \| greedy \|/);
    assert.match(text, /\| trainer\/lightning, seed 7 \| greedy \|/);
    assert.match(text, /\n- sampled: seed 7 0\.00; mean 0\.00 \(wanted: within ±0\.15\)\.\n<!-- \/bench/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
