import assert from "node:assert/strict";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { Bus } from "../bus.ts";
import { HoneError } from "../diagnostics/mod.ts";
import type { Envelope, TurnRecord } from "../events.ts";
import { Store } from "./store.ts";

const ROOT = join(import.meta.dirname!, "../..");

/** Runs `work` on a new store in a folder of its own. */
async function onStore(work: (store: Store, bus: Bus, path: string) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "run.duckdb");
  try {
    await using store = await Store.open(path, { run_id: "r", mode: "create" });
    await work(store, new Bus("r", store), path);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function turn(changes: Partial<TurnRecord> = {}): TurnRecord {
  const counts = { prompt_tokens: 1, output_tokens: 1, seconds: 0 };
  return { type: "turn", index: 0, input: [], text: "", tool_calls: [], finish_reason: "stop", ...counts, ...changes };
}

const reward = (value: number) => ({ rollout_id: "a", group_id: "g", success: value === 1, value, parts: {} });

Deno.test("Store.read() refuses to write when the statement says it only explains", async () => {
  await onStore(async (store, bus) => {
    await bus.publish("shaper", "reward.shaped", reward(1));
    await assert.rejects(store.read("EXPLAIN ANALYZE DELETE FROM reward_records"), { code: "QUERY_FAILED" });
    for (const sql of ["DELETE FROM reward_records", "SELECT 1; SELECT 2", "  "]) {
      await assert.rejects(store.read(sql), {
        code: "NOT_A_QUERY",
        message: `Cannot run ${JSON.stringify(sql)}: only read-only queries are allowed`,
      });
    }
    assert.deepEqual(await store.read("SELECT count(*) AS n FROM rewards"), [{ n: 1 }]);
  });
});

Deno.test("Store goes on when a query meets a fault of DuckDB, and its own views have none", async () => {
  await onStore(async (store, bus) => {
    await bus.publish("shaper", "reward.shaped", reward(1));
    const last =
      "SELECT * FROM reward_records QUALIFY row_number() OVER (PARTITION BY rollout_id ORDER BY rowid DESC) = 1";
    const faulty = `SELECT count(*) AS n FROM (${last}) WHERE invalid IS NULL`;
    await assert.rejects(store.read(faulty), (error: HoneError) => {
      assert.match(error.message, /^Cannot run "SELECT count.*INTERNAL Error: [^\n]*$/);
      return error.code === "QUERY_FAILED";
    });
    await bus.publish("shaper", "reward.shaped", { ...reward(1), rollout_id: "b" });
    assert.deepEqual(await store.read("SELECT count(*) AS n FROM rewards WHERE invalid IS NULL"), [{ n: 2 }]);
    await assert.rejects(store.read(faulty), { code: "QUERY_FAILED" });
    assert.deepEqual(await store.query("SELECT count(*) AS n FROM reward_records"), [{ n: 2 }]);
  });
});

Deno.test("Store.read() refuses other files of the machine", async () => {
  await onStore(async (store, _bus, path) => {
    const reach = [
      `SELECT * FROM read_text('${path}')`,
      `SELECT * FROM '${path}.csv'`,
      `COPY rewards TO '${path}.csv'`,
    ];
    for (const sql of reach) {
      await assert.rejects(store.read(sql), { code: "QUERY_FAILED" });
    }
  });
});

Deno.test("Store.open() refuses a live file when another process or this one has it open", async () => {
  await onStore(async (_store, _bus, path) => {
    const message = `Cannot open ${JSON.stringify(path)}: another process is writing to it`;
    await assert.rejects(Store.open(path, { run_id: "r", mode: "read" }), { code: "RUN_BUSY", message });
    const program = `import { Store } from ${JSON.stringify(join(ROOT, "pipeline/store/store.ts"))};
      try { await Store.open(${JSON.stringify(path)}, { run_id: "r", mode: "resume" }); console.log("opened"); }
      catch (error) { console.log(error.code + " " + error.message); }`;
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", program], cwd: ROOT })
      .output();
    assert.equal(new TextDecoder().decode(stdout).trim(), `RUN_BUSY ${message}`);
  });
});

Deno.test("Store.open() refuses to create over a run, and to resume or read what is not there", async () => {
  await onStore(async (store, _bus, path) => {
    await store.flush();
    await assert.rejects(Store.open(path, { run_id: "r", mode: "create" }), { code: "RUN_EXISTS" });
    for (const mode of ["resume", "read"] as const) {
      await assert.rejects(Store.open(`${path}.none`, { run_id: "r", mode }), { code: "RUN_MISSING" });
    }
    await Deno.writeTextFile(`${path}.text`, "not a database at all");
    await assert.rejects(Store.open(`${path}.text`, { run_id: "r", mode: "read" }), { code: "STORE_UNREADABLE" });
  });
});

Deno.test("Store keeps the order gapless when a payload cannot be written", async () => {
  await onStore(async (store, bus) => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    const observation = circular as never;
    bus.publish("t", "metric.recorded", { name: "a", value: 1, step: 1 });
    assert.throws(() => bus.publish("j", "observation.made", { rollout_id: "a", judge: "j", observation }), /circular/);
    bus.publish("t", "metric.recorded", { name: "a", value: 2, step: 1 });
    assert.deepEqual(await store.query("SELECT seq, type FROM events ORDER BY seq"), [
      { seq: 1, type: "metric.recorded" },
      { seq: 2, type: "metric.recorded" },
    ]);
  });
});

Deno.test("Store goes on when an endpoint counts tokens in fractions", async () => {
  await onStore(async (store, bus) => {
    await bus.publish("chat", "turn.completed", { rollout_id: "a", turn: turn({ prompt_tokens: 1.5 }) });
    assert.deepEqual(await store.query("SELECT prompt_tokens FROM turns"), [{ prompt_tokens: 1 }]);
  });
});

Deno.test("Store writes more rows than one DuckDB chunk holds, in order and with their lists", async () => {
  await onStore(async (store, bus) => {
    const count = 5000;
    for (let i = 0; i < count; i++) {
      const ids = i % 3 === 0 ? undefined : Int32Array.of(i, -i, 2 ** 31 - 1);
      const logprobs = ids && Float32Array.of(-0.1, -i, NaN);
      const prompt_token_ids = i % 2 ? new Int32Array() : undefined;
      const record = turn({ index: i, output_token_ids: ids, logprobs, prompt_token_ids });
      bus.publish("chat", "turn.completed", { rollout_id: `r${i}`, turn: record });
    }
    const rows = await store.query("SELECT * FROM turns ORDER BY turn");
    assert.equal(rows.length, count);
    for (const [i, row] of rows.entries()) {
      assert.deepEqual(row.output_ids, i % 3 === 0 ? null : [i, -i, 2 ** 31 - 1]);
      assert.deepEqual(row.logprobs, i % 3 === 0 ? null : [Math.fround(-0.1), -i, NaN]);
      assert.deepEqual(row.prompt_suffix, i % 2 ? [] : null);
    }
  });
});

Deno.test("rewards and judgements show the last record when a group was judged again", async () => {
  await onStore(async (store, bus) => {
    for (const value of [0.25, 1]) {
      bus.publish("j", "judgement.made", { rollout_id: "a", group_id: "g", judge: "j", score: value, reason: "" });
      bus.publish("shaper", "reward.shaped", reward(value));
      await store.flush();
    }
    assert.deepEqual(await store.query("SELECT value, success FROM rewards"), [{ value: 1, success: true }]);
    assert.deepEqual(await store.query("SELECT score FROM judgements"), [{ score: 1 }]);
    assert.deepEqual(await store.query("SELECT count(*) AS n FROM reward_records"), [{ n: 2 }]);
  });
});

Deno.test("runs counts the starts and has the last end's status when a run was resumed", async () => {
  await onStore(async (store, bus) => {
    for (const status of ["paused", "completed"] as const) {
      const resumed = status === "completed";
      bus.publish("runner", "run.started", { name: "n", seed: 1, hone_version: "0", resumed });
      bus.publish("runner", "run.ended", { status });
    }
    assert.deepEqual(await store.query("SELECT starts, status FROM runs"), [{ starts: 2, status: "completed" }]);
  });
});

/** A folder on a file system of its own that is almost full; needs root, as CI containers have. */
async function smallDisk(mib: number): Promise<{ dir: string; end: () => Promise<void> } | null> {
  const dir = await Deno.makeTempDir();
  const args = ["-t", "tmpfs", "-o", `size=${mib}m`, "tmpfs", dir];
  const mounted = await new Deno.Command("mount", { args, stderr: "null" }).output().then(
    (o) => o.success,
    () => false,
  );
  if (!mounted) {
    await Deno.remove(dir);
    return null;
  }
  return {
    dir,
    async end() {
      await new Deno.Command("umount", { args: [dir] }).output();
      await Deno.remove(dir);
    },
  };
}

Deno.test("Store says so, and stays readable to the last acknowledged record, when the disk is full", async (t) => {
  const disk = await smallDisk(8);
  if (!disk) return void await t.step({ name: "needs the right to mount", ignore: true, fn: () => {} });
  const path = join(disk.dir, "run.duckdb");
  let acknowledged = 0;
  try {
    {
      await using store = await Store.open(path, { run_id: "r", mode: "create" });
      const bus = new Bus("r", store);
      const bytes = new Uint8Array(1 << 16);
      const noise = () =>
        crypto.getRandomValues(bytes).reduce((text, byte) => text + String.fromCharCode(byte + 256), "");
      const failure = await (async () => {
        for (;;) {
          await bus.publish("chat", "turn.completed", {
            rollout_id: `r${acknowledged}`,
            turn: turn({ text: noise() }),
          });
          acknowledged++;
        }
      })().catch((error) => error);
      assert.ok(failure instanceof HoneError, String(failure));
      assert.equal(failure.code, "STORE_WRITE_FAILED");
      assert.ok(
        failure.message.startsWith(`Cannot write the run's records to ${JSON.stringify(path)}: `),
        failure.message,
      );
      await assert.rejects(bus.publish("runner", "run.ended", { status: "failed" }), { code: failure.code });
      await assert.rejects(store.flush(), { code: failure.code });
    }
    assert.ok(acknowledged > 3);
    await using again = await Store.open(path, { run_id: "r", mode: "read" });
    const kept = await again.query("SELECT rollout_id FROM turns");
    const ids = new Set(kept.map((row) => row.rollout_id));
    for (let i = 0; i < acknowledged; i++) assert.ok(ids.has(`r${i}`), `r${i} was acknowledged`);
  } finally {
    await disk.end();
  }
});

Deno.test("Store makes the tables that a file of an older hone lacks when it goes on writing, and reads it without", async () => {
  const dir = await Deno.makeTempDir();
  const path = join(dir, "run.duckdb");
  const envelope: Envelope<"llm.called"> = {
    seq: 1,
    at: 5,
    run_id: "r",
    source: "judge",
    type: "llm.called",
    data: {
      stage: "rubric",
      api: "openai",
      model: "m",
      key: "k",
      cached: false,
      outcome: "ok",
      prompt_tokens: 7,
      output_tokens: 2.5,
      seconds: 0.25,
      tries: 1,
      request: { messages: ["\u0000 \ud800"] },
      reply: null,
      usd: 0.125,
    },
  };
  try {
    {
      await using store = await Store.open(path, { run_id: "r", mode: "create" });
      await store.append(envelope);
    }
    const older = await DuckDBInstance.create(path);
    const connection = await older.connect();
    await connection.run("DROP TABLE llm_calls");
    connection.closeSync();
    older.closeSync();
    {
      await using store = await Store.open(path, { run_id: "r", mode: "read" });
      assert.deepEqual(await store.read("SELECT count(*) AS n FROM runs"), [{ n: 0 }]);
    }
    await using store = await Store.open(path, { run_id: "r", mode: "resume" });
    await store.append({ ...envelope, seq: store.next_seq });
    assert.deepEqual(await store.read("SELECT * EXCLUDE (request, seq) FROM llm_calls"), [{
      stage: "rubric",
      api: "openai",
      model: "m",
      key: "k",
      cached: false,
      outcome: "ok",
      prompt_tokens: 7,
      output_tokens: 2,
      seconds: 0.25,
      tries: 1,
      reply: "null",
      recorded_at: "1970-01-01T00:00:00.005Z",
      usd: 0.125,
    }]);
    const [row] = await store.read("SELECT request FROM llm_calls");
    assert.deepEqual(JSON.parse(String(row!.request)), { messages: ["\u0000 \ud800"] });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
