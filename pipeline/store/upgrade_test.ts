/** SQL as people see it: names, comments, and files of earlier versions. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Bus } from "../bus.ts";
import type { Envelope, EventMap, EventName } from "../events.ts";
import { oldRun } from "../../tests/fixtures/old_run.ts";
import { fakeTurn } from "../testing.ts";
import { described, TABLE_NAMES } from "./ddl.ts";
import { Store } from "./store.ts";
import { VIEWS } from "./views.ts";

async function folder() {
  const dir = await Deno.makeTempDir();
  return { dir, path: join(dir, "run.duckdb"), [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

Deno.test("every table, view and column has its comment in the database, and is listed with the type that it has", async () => {
  await using at = await folder();
  await using store = await Store.open(at.path, { run_id: "r", mode: "create" });
  const listed = described().flatMap(({ name, columns }) =>
    Object.entries(columns).map(([column, [type, comment]]) => ({ name, column, type, comment }))
  );
  const found = await store.query(
    `SELECT table_name AS name, column_name AS column, data_type AS type, comment FROM duckdb_columns() WHERE NOT internal`,
  );
  const order = (rows: Record<string, unknown>[]) => rows.map((row) => JSON.stringify(row)).sort();
  assert.deepEqual(order(found), order(listed));
  const about = await store.query(
    `SELECT table_name AS name, comment FROM duckdb_tables() WHERE NOT internal
     UNION ALL SELECT view_name, comment FROM duckdb_views() WHERE NOT internal`,
  );
  assert.deepEqual(order(about), order(described().map(({ name, about: comment }) => ({ name, comment }))));
  for (const { name, about } of described()) assert.match(about, /^[A-Z].+\.$/, name);
  for (const { name, column, comment } of listed) assert.match(comment, /\S.*[.…]$/, `${name}.${column}`);
});

Deno.test("no column needs quotes, and no time is a number", async () => {
  await using at = await folder();
  await using store = await Store.open(at.path, { run_id: "r", mode: "create" });
  for (const { name, columns } of described()) {
    await store.read(`SELECT ${Object.keys(columns).join(", ")} FROM ${name}`);
    for (const [column, [type]] of Object.entries(columns)) {
      assert.equal(column.endsWith("_at"), type === "TIMESTAMP", `${name}.${column}`);
    }
  }
});

Deno.test("a query with a name of earlier versions fails with the name that replaced it", async () => {
  await using at = await folder();
  await using store = await Store.open(at.path, { run_id: "r", mode: "create" });
  const schema = "`hone query --schema` lists all tables and columns.";
  const hints = {
    "SELECT outcome_end FROM rollouts": "outcome_end of rollouts is now outcome.",
    "SELECT r.outcome_end FROM rollouts r": "outcome_end of rollouts is now outcome.",
    "SELECT rollout_id FROM turns ORDER BY index": "index of turns is now turn.",
    "SELECT checkpoint FROM policies WHERE version = 1": "version of policies is now policy_version.",
    "SELECT runs.started_at / 1000 FROM runs": "Times are TIMESTAMPs in UTC: epoch_ms(started_at) gives milliseconds.",
    "SELECT * FROM runs WHERE started_at > 1700000000000":
      "Times are TIMESTAMPs in UTC: epoch_ms(started_at) gives milliseconds.",
  };
  for (const [sql, hint] of Object.entries(hints)) {
    await assert.rejects(store.read(sql), { code: "QUERY_FAILED", hint: `${hint} ${schema}` });
  }
  await assert.rejects(store.read(`SELECT max("at") FROM events`), (error: { hint: string }) => {
    assert.match(error.hint, /at of events is now recorded_at\. /);
    return true;
  });
  await assert.rejects(store.read("SELECT nothing FROM runs"), { code: "QUERY_FAILED", hint: schema });
});

Deno.test("a file of an earlier version has the present names when it is read, and the same rows after it is resumed", async () => {
  for (const name of ["finished", "interrupted"] as const) {
    await using at = await folder();
    await oldRun(name, at.dir);
    const tables = [...TABLE_NAMES.filter((table) => table !== "meta"), ...Object.keys(VIEWS)];
    const everything = async (mode: "read" | "resume") => {
      await using store = await Store.open(at.path, { run_id: "another", mode });
      assert.notEqual(store.run_id, "another");
      const rows = await Promise.all(tables.map((table) => store.read(`FROM ${table} ORDER BY ALL`)));
      return { next_seq: store.next_seq, rows: Object.fromEntries(tables.map((table, i) => [table, rows[i]!])) };
    };
    const read = await everything("read");
    assert.deepEqual(await everything("resume"), read);
    assert.deepEqual(await everything("read"), read);
    const { train_steps, turns, rollouts, events, metrics, llm_calls } = read.rows;
    const steps = [["supervised", 1, 1], ["supervised", 2, 2], ["rl", 1, 3], ["rl", 2, 4], ["rl", 3, 5]];
    const taken = train_steps!.map(({ kind, step, optimizer_step }) => [kind, step, optimizer_step]);
    assert.deepEqual(taken, steps.slice(0, taken.length));
    assert.deepEqual(
      new Set(rollouts!.map(({ purpose, step }) => purpose === "train" || step === null)),
      new Set([true]),
    );
    assert.equal(Math.min(...rollouts!.flatMap(({ step }) => step === null ? [] : [Number(step)])), 1);
    assert.deepEqual(
      new Set(
        metrics!.map(({ step, optimizer_step, kind }) =>
          Number(optimizer_step) - Number(step) === (kind === "rl" ? 2 : 0)
        ),
      ),
      new Set([true]),
    );
    const recorded = new Map(events!.map(({ seq, type, ref }) => [seq, [type, ref]]));
    for (const { seq, rollout_id, turn } of turns!) {
      assert.deepEqual(recorded.get(seq), ["turn.completed", `${rollout_id}/${turn}`]);
    }
    assert.match(String(events![0]!.recorded_at), /^2026-\d\d-\d\dT/);
    assert.deepEqual(llm_calls, []);
  }
});

Deno.test("a column that a file lacks is NULL when it is read, and added when it is resumed", async () => {
  await using at = await folder();
  {
    await using store = await Store.open(at.path, { run_id: "r", mode: "create" });
    await new Bus("r", store).publish("t", "turn.completed", { rollout_id: "a", turn: fakeTurn({ text: "hi" }) });
    await store.query("ALTER TABLE turns DROP COLUMN shortened");
  }
  const sql = "SELECT text, shortened FROM turns";
  for (const mode of ["read", "resume", "read"] as const) {
    await using store = await Store.open(at.path, { run_id: "r", mode });
    assert.deepEqual(await store.read(sql), [{ text: "hi", shortened: null }]);
  }
});

Deno.test("what counts is the order of the records, not the clock, also where the clock was set back", async () => {
  await using at = await folder();
  await using store = await Store.open(at.path, { run_id: "first", mode: "create" });
  let seq = 0;
  const write = <K extends EventName>(type: K, at_ms: number, data: EventMap[K]) =>
    store.append({ seq: ++seq, at: at_ms, run_id: seq > 3 ? "renamed" : "first", source: "t", type, data } as Envelope);
  const started = { name: "n", seed: 1, hone_version: "0", resumed: false };
  const policy = (name: string) => ({ name, version: 1, model: "m", checkpoint: "rl-00001" });
  await write("run.started", 9_000_000, started);
  await write("policy.published", 9_000_001, policy("tuned"));
  await write("run.ended", 9_000_002, { status: "interrupted" });
  await write("run.started", 5_000_000, { ...started, resumed: true });
  const status = "SELECT run_id, status, starts, epoch_ms(last_started_at) AS last_ms FROM runs";
  const run = { run_id: "first", starts: 2, last_ms: 5_000_000 };
  assert.deepEqual(await store.read(status), [{ ...run, status: "running" }]);
  await write("policy.published", 5_000_001, { ...policy("tuned"), checkpoint: "rl-00002" });
  await write("run.ended", 5_000_002, { status: "completed" });
  assert.deepEqual(await store.read(status), [{ ...run, status: "completed" }]);
  const { completed } = await import("./recorded.ts");
  assert.equal((await completed(store)).policies.get("tuned")?.checkpoint, "rl-00002");
});
