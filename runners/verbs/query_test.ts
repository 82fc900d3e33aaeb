import assert from "node:assert/strict";
import { join } from "node:path";
import { Bus } from "../../pipeline/bus.ts";
import { Store } from "../../pipeline/store/store.ts";
import cancel from "./cancel.ts";
import { parseLine } from "../cli/args.ts";
import { liveRun, runVerb } from "../../tests/fixtures/small_run.ts";
import pause from "./pause.ts";
import query from "./query.ts";
import runs from "./runs.ts";
import { oneLine, table } from "./table.ts";
import watch from "./watch.ts";

async function inFolder(work: (runs_dir: string) => Promise<void>) {
  const runs_dir = await Deno.makeTempDir();
  try {
    await work(runs_dir);
  } finally {
    await Deno.remove(runs_dir, { recursive: true });
  }
}

/** What a killed process leaves: records without an end, and its lock. */
async function killedRun(runs_dir: string, id: string) {
  const run_dir = join(runs_dir, id);
  await Deno.mkdir(run_dir);
  await using store = await Store.open(join(run_dir, "run.duckdb"), { run_id: id, mode: "create" });
  new Bus(id, store).publish("runner", "run.started", { name: "n", seed: 1, hone_version: "0.1.0", resumed: false });
  const child = new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "null" }).spawn();
  await child.status;
  await Deno.writeTextFile(join(run_dir, "run.lock"), JSON.stringify({ pid: child.pid, started: "1" }));
}

const metric = (value: number) => ({ name: "loss", value, step: 1 });

Deno.test("query answers from a live run all that was appended before, and the same once it has ended", async () => {
  await inFolder(async (runs_dir) => {
    const { run_dir, bus, end } = await liveRun(runs_dir, "files-1");
    for (const value of [0.5, 2]) bus.publish("trainer", "metric.recorded", metric(value));
    const ask = (format: string) =>
      runVerb(query, { positional: [run_dir, "SELECT name, value FROM metrics ORDER BY value"], format });
    const live = await ask("json");
    assert.deepEqual(JSON.parse(live.out[0]!), [{ name: "loss", value: 0.5 }, { name: "loss", value: 2 }]);
    await end("completed");
    assert.deepEqual(await ask("json"), live);
    assert.deepEqual((await ask("text")).out, ["name  value\nloss    0.5\nloss      2"]);
  });
});

Deno.test("query refuses to write to a live run and to a finished one", async () => {
  await inFolder(async (runs_dir) => {
    const { run_dir, end } = await liveRun(runs_dir, "files-1");
    const refused = () =>
      assert.rejects(runVerb(query, { positional: [run_dir, "DROP TABLE metrics"] }), {
        code: "NOT_A_QUERY",
        message: 'Cannot run "DROP TABLE metrics": only read-only queries are allowed',
      });
    await refused();
    const explain = { positional: [run_dir, "EXPLAIN ANALYZE DELETE FROM run_starts"] };
    await assert.rejects(runVerb(query, explain), { code: "QUERY_FAILED" });
    const kept = await runVerb(query, {
      positional: [run_dir, "SELECT count(*) AS n FROM run_starts"],
      format: "json",
    });
    assert.deepEqual(kept.out, ['[{"n":1}]']);
    await end("completed");
    await refused();
  });
});

Deno.test("query says what it left out of the table", async () => {
  await inFolder(async (runs_dir) => {
    const { run_dir, end } = await liveRun(runs_dir, "files-1");
    const said = await runVerb(query, { positional: [run_dir, "FROM range(5)"], args: { max_rows: 2 } });
    assert.deepEqual(said, { code: 0, out: ["range\n    0\n    1"], err: ["3 more rows: raise --max-rows"] });
    const none = await runVerb(query, { positional: [run_dir, "FROM metrics"] });
    assert.deepEqual(none, { code: 0, out: [], err: ["no rows"] });
    await end("completed");
  });
});

Deno.test("query --schema lists every table and column with what it holds, and needs no run", async () => {
  const line = parseLine(query, ["--schema"]);
  assert.deepEqual([line.positional, (line.args as { schema: boolean }).schema], [[], true]);
  assert.throws(() => parseLine(query, ["latest"]), { message: "Cannot query: <sql> is missing" });
  const text = await runVerb(query, { args: { schema: true } });
  assert.match(text.out[0]!, /^rollouts \(view\): Attempts at scenarios by policies, with how they ended\.\n/);
  assert.match(text.out[0]!, /\n\nturns \(table\): Replies of the model\.\n/);
  assert.match(text.out[0]!, /\n {2}turn +INTEGER +Number of the turn in its rollout, from 0\.\n/);
  const rows = JSON.parse((await runVerb(query, { args: { schema: true }, format: "json" })).out[0]!);
  assert.deepEqual(rows.find((row: { column: string }) => row.column === "optimizer_step"), {
    table: "train_steps",
    column: "optimizer_step",
    type: "INTEGER",
    comment: "The step's number among the steps of all kinds, from 1.",
  });
});

Deno.test("query --list tells the ready-made queries, and @name runs one", async () => {
  assert.deepEqual(parseLine(query, ["--list"]).positional, []);
  const text = (await runVerb(query, { args: { list: true } })).out[0]!;
  assert.match(text, /^@success +Success of each policy on held-out scenarios, by sampling\.\n/);
  assert.match(text, /\n@step +Why .* --value: a step\.\n/);
  await inFolder(async (runs_dir) => {
    const { run_dir, end } = await liveRun(runs_dir, "files-1");
    const ask = (sql: string, value?: string) =>
      runVerb(query, { positional: [run_dir, sql], args: { ...(value && { value }) }, format: "json" });
    const [start] = JSON.parse((await ask("@starts")).out[0]!);
    assert.deepEqual([start.resumed, start.status], [false, null]);
    await assert.rejects(ask("@stap"), { code: "UNKNOWN_QUERY", hint: "did you mean @step?" });
    await assert.rejects(ask("@toString"), { code: "UNKNOWN_QUERY" });
    await assert.rejects(ask("@costs", "1"), { message: "Cannot use --value: the query @costs takes none" });
    await assert.rejects(ask("@step", "1 OR 1"), { code: "BAD_VALUE" });
    await assert.rejects(ask("FROM metrics", "1"), { code: "QUERY_VALUE" });
    await end("completed");
  });
});

Deno.test("runs tells a live run, a finished one, one whose process is gone and one that is no run apart", async () => {
  await inFolder(async (runs_dir) => {
    const live = await liveRun(runs_dir, "live");
    const done = await liveRun(runs_dir, "done");
    await done.end("completed");
    await killedRun(runs_dir, "gone");
    await Deno.mkdir(join(runs_dir, "broken"));
    await Deno.writeTextFile(join(runs_dir, "broken", "run.duckdb"), "x".repeat(9000));
    const { out } = await runVerb(runs, { args: { dir: runs_dir }, format: "json" });
    const statuses = Object.fromEntries(
      JSON.parse(out[0]!).map((r: { id: string; status: string }) => [r.id, r.status]),
    );
    assert.deepEqual(statuses, {
      live: `running (${Deno.pid})`,
      done: "completed",
      gone: "interrupted",
      broken: "STORE_UNREADABLE",
    });
    await live.end("cancelled");
  });
});

Deno.test("watch follows a live run to its end, as lines or as whole events", async () => {
  await inFolder(async (runs_dir) => {
    for (const format of ["text", "json"]) {
      const { run_dir, bus, end } = await liveRun(runs_dir, `files-${format}`);
      const first = Promise.withResolvers<void>();
      const args = { only: ["metric.", "run.ended"] };
      const watching = runVerb(watch, { positional: [run_dir], args, format, on_out: () => first.resolve() });
      // The reader may join at any time: events go on until it has seen one.
      const beat = setInterval(() => bus.publish("trainer", "metric.recorded", metric(1)), 5);
      await first.promise;
      clearInterval(beat);
      await end("completed");
      const { code, out } = await watching;
      assert.equal(code, 0);
      if (format === "json") {
        const events = out.map((line) => JSON.parse(line));
        assert.deepEqual(events.at(-1).data, { status: "completed" });
        assert.deepEqual(events[0].data, metric(1));
        assert.deepEqual(events.map((e) => e.seq), events.map((_, i) => events[0].seq + i));
      } else {
        assert.match(out[0]!, /^\d\d:\d\d:\d\d +\d+ metric\.recorded +trainer: name=loss value=1 step=1$/);
        assert.match(out.at(-1)!, /run\.ended +runner: status=completed$/);
      }
    }
  });
});

Deno.test("watch, pause and cancel say that a finished run cannot be reached", async () => {
  await inFolder(async (runs_dir) => {
    const { run_dir, end } = await liveRun(runs_dir, "files-1");
    await end("completed");
    for (const verb of [watch, pause, cancel]) {
      await assert.rejects(runVerb(verb, { positional: [run_dir] }), {
        code: "RUN_NOT_LIVE",
        message: `Cannot reach the run in ${JSON.stringify(run_dir)}: no process is using it`,
      });
    }
  });
});

Deno.test("pause and cancel reach the run and wait until it has let go of its folder", async () => {
  await inFolder(async (runs_dir) => {
    for (const [verb, status] of [[pause, "paused"], [cancel, "cancelled"]] as const) {
      const { run_dir, asked } = await liveRun(runs_dir, verb.name);
      const { code, out } = await runVerb(verb, { positional: [run_dir] });
      assert.equal(code, 0);
      assert.deepEqual(out, [`${status}: \`hone resume ${run_dir}\` continues the run`]);
      assert.deepEqual(asked, [verb.name]);
      const said = await runVerb(query, { positional: [run_dir, "SELECT status FROM runs"], format: "json" });
      assert.deepEqual(said.out, [`[{"status":"${status}"}]`]);
    }
  });
});

Deno.test("table() aligns columns and never sends a terminal what a model wrote to control it", () => {
  const rows = [{ id: "a", n: 1, text: "\x1b[2Jred\nline\u202e" }, { id: "bcd", n: null, text: null }];
  assert.equal(table(rows), "id   n  text\na    1  \\u{1b}[2Jred\\nline\\u{202e}\nbcd");
  assert.equal(oneLine("x".repeat(100), 10), "xxxxxxxxx…");
  assert.equal(oneLine({ a: [1] }, 10), '{"a":[1]}');
});
