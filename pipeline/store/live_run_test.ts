import assert from "node:assert/strict";
import { cp, readFile, stat } from "node:fs/promises";
import { request } from "node:http";
import { join } from "node:path";
import { Bus } from "../bus.ts";
import { findRun, listRuns, lockHolder, lockRun, openRun } from "./live_run.ts";
import { serveControl } from "./run_control.ts";
import { Store } from "./store.ts";

const ROOT = join(import.meta.dirname!, "../..");

async function inFolder(work: (dir: string) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  try {
    await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Serves a run in `dir` while `work` goes on. */
async function served(dir: string, work: (bus: Bus) => Promise<void>) {
  await using stack = new AsyncDisposableStack();
  stack.use(await lockRun(dir));
  const store = stack.use(await Store.open(join(dir, "run.duckdb"), { run_id: "r", mode: "create" }));
  const bus = new Bus("r", store);
  const nothing = () => {};
  const status = () => ({ rung: "rl", step: 3 });
  stack.use(await serveControl({ run_dir: dir, store, bus, status, on_pause: nothing, on_cancel: nothing }));
  await work(bus);
}

Deno.test("lockRun() keeps a second run out of the folder, here and in another process", async () => {
  await inFolder(async (dir) => {
    const message = `Cannot run in ${JSON.stringify(dir)}: process ${Deno.pid} is using this run`;
    {
      await using _lock = await lockRun(dir);
      await assert.rejects(lockRun(dir), { code: "RUN_LOCKED", message });
      const program = `import { lockRun } from ${JSON.stringify(join(ROOT, "pipeline/store/live_run.ts"))};
        try { await lockRun(${JSON.stringify(dir)}); console.log("locked"); } catch (e) { console.log(e.message); }`;
      const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", "--no-check", program], cwd: ROOT })
        .output();
      assert.equal(new TextDecoder().decode(stdout).trim(), message);
    }
    assert.equal(await lockHolder(dir), null);
  });
});

Deno.test("lockRun() takes over a lock whose process is gone or whose pid belongs to another process now", async () => {
  await inFolder(async (dir) => {
    const child = new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "null" }).spawn();
    await child.status;
    for (const stale of [`{"pid":${child.pid},"started":"1"}`, `{"pid":${Deno.pid},"started":"1"}`, "", "{"]) {
      await Deno.writeTextFile(join(dir, "run.lock"), stale);
      assert.equal(await lockHolder(dir), null);
      await using _lock = await lockRun(dir);
      assert.equal(await lockHolder(dir), Deno.pid);
    }
  });
});

Deno.test("lockRun() lets one of several processes that start at once have a folder, whatever lock was left there", async () => {
  await inFolder(async (root) => {
    const folders = Array.from({ length: 60 }, (_, i) => join(root, `run-${i}`));
    for (const [i, dir] of folders.entries()) {
      await Deno.mkdir(dir);
      const left = [undefined, "", `{"pid":${Deno.pid},"started":"1"}`][i % 3];
      if (left !== undefined) await Deno.writeTextFile(join(dir, "run.lock"), left);
    }
    const program = `import { lockRun } from ${JSON.stringify(join(ROOT, "pipeline/store/live_run.ts"))};
      console.log("ready");
      await Deno.stdin.read(new Uint8Array(1));
      const got = [];
      for (const dir of ${JSON.stringify(folders)}) {
        await lockRun(dir).then(() => got.push("locked"), (error) => got.push(error.code));
      }
      console.log(JSON.stringify(got));
      await Deno.stdin.read(new Uint8Array(1));`;
    const children = Array.from(
      { length: 3 },
      () =>
        new Deno.Command(Deno.execPath(), {
          args: ["eval", "--no-check", program],
          cwd: ROOT,
          stdin: "piped",
          stdout: "piped",
        }).spawn(),
    );
    const readers = children.map(({ stdout }) => linesOf(stdout));
    for (const reader of readers) assert.equal((await reader.next()).value, "ready");
    const writers = children.map(({ stdin }) => stdin.getWriter());
    await Promise.all(writers.map((writer) => writer.write(new TextEncoder().encode("\n"))));
    const results = await Promise.all(readers.map(async (reader): Promise<string[]> => {
      const { value } = await reader.next();
      return JSON.parse(value!);
    }));
    const outcomes = folders.map((_, i) => results.map((each) => each[i]).sort());
    assert.deepEqual(outcomes, folders.map(() => ["RUN_LOCKED", "RUN_LOCKED", "locked"]));
    for (const dir of folders) assert.deepEqual(Array.from(Deno.readDirSync(dir), ({ name }) => name), ["run.lock"]);
    await Promise.all(writers.map((writer) => writer.close()));
    await Promise.all(readers.map((reader) => reader.return(undefined)));
    await Promise.all(children.map(({ status }) => status));
  });
});

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  return undefined;
}

Deno.test("serveControl() answers only who has the token and asks for loopback", async () => {
  await inFolder(async (dir) => {
    await served(dir, async () => {
      const path = join(dir, "control.json");
      assert.equal((await stat(path)).mode & 0o777, 0o600);
      const { port, token } = JSON.parse(await readFile(path, "utf8"));
      const asked = (headers: Record<string, string>) =>
        new Promise<number | undefined>((resolve, reject) => {
          const made = request({ host: "127.0.0.1", port, path: "/status", headers }, (response) => {
            response.resume();
            response.on("end", () => resolve(response.statusCode));
          });
          made.on("error", reject).end();
        });
      const authorization = `Bearer ${token}`;
      assert.equal(await asked({ authorization }), 200);
      assert.equal(await asked({}), 401);
      assert.equal(await asked({ authorization: "Bearer guess" }), 401);
      assert.equal(await asked({ authorization, host: "evil.example" }), 403);
    });
    await assert.rejects(stat(join(dir, "control.json")), { code: "ENOENT" });
  });
});

Deno.test("openRun() gives status and records of a live run, and its records once it has ended", async () => {
  await inFolder(async (dir) => {
    const sql = "SELECT seq, type FROM events";
    await served(dir, async (bus) => {
      bus.publish("runner", "rung.started", { rung: "rl", total: 8 });
      await using run = await openRun(dir);
      assert.equal(run.live, true);
      assert.deepEqual(await run.status(), { rung: "rl", step: 3 });
      assert.deepEqual(await run.query(sql), [{ seq: 1, type: "rung.started" }]);
      await assert.rejects(run.query("FROM nowhere"), { code: "QUERY_FAILED" });
    });
    await using run = await openRun(dir);
    assert.equal(run.live, false);
    assert.equal(await run.status(), null);
    assert.deepEqual(await run.query(sql), [{ seq: 1, type: "rung.started" }]);
  });
});

Deno.test("watch() brings token arrays as lists, and a reader that leaves does not disturb the run", async () => {
  await inFolder(async (dir) => {
    await served(dir, async (bus) => {
      await using run = await openRun(dir);
      const turn = {
        type: "turn" as const,
        index: 0,
        input: [],
        text: "hi",
        tool_calls: [],
        output_token_ids: Int32Array.of(5, 6),
        finish_reason: "stop" as const,
        prompt_tokens: 1,
        output_tokens: 2,
        seconds: 0,
      };
      const beat = setInterval(() => bus.publish("chat", "turn.completed", { rollout_id: "a", turn }), 5);
      for await (const event of run.watch()) {
        assert.deepEqual(event.data, { rollout_id: "a", turn: { ...turn, output_token_ids: [5, 6] } });
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, 30));
      clearInterval(beat);
      await bus.publish("chat", "turn.completed", { rollout_id: "a", turn });
      assert.deepEqual(await run.query("SELECT count(*) = max(seq) AS gapless FROM events"), [{ gapless: true }]);
    });
  });
});

Deno.test("serveControl() ends what watches it when it closes, although no run.ended came", async () => {
  await inFolder(async (dir) => {
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    await served(dir, async () => {
      const { port, token } = JSON.parse(await readFile(join(dir, "control.json"), "utf8"));
      const headers = { authorization: `Bearer ${token}` };
      reader = (await fetch(`http://127.0.0.1:${port}/watch`, { headers })).body!.getReader();
    });
    assert.deepEqual(await reader!.read(), { done: true, value: undefined });
  });
});

Deno.test("findRun() takes a folder, an id, its beginning or latest, and says what there is otherwise", async () => {
  await inFolder(async (runs_dir) => {
    for (const [age, id] of ["files-3", "files-2", "notes-1"].entries()) {
      await Deno.mkdir(join(runs_dir, id));
      await Deno.writeTextFile(join(runs_dir, id, "run.duckdb"), "");
      await Deno.utime(join(runs_dir, id, "run.duckdb"), 1000 - age, 1000 - age);
    }
    const notes = join(runs_dir, "notes-1");
    for (const word of [notes, "notes-1", "notes"]) assert.equal(await findRun(word, runs_dir), notes);
    assert.equal(await findRun("latest", runs_dir), join(runs_dir, "files-3"));
    assert.deepEqual((await listRuns(runs_dir)).map(({ id }) => id), ["files-3", "files-2", "notes-1"]);
    for (
      const [word, hint] of [["files", "Runs: files-3, files-2."], ["x", "Runs: files-3, files-2, notes-1."]]
    ) {
      await assert.rejects(findRun(word!, runs_dir), {
        code: "NO_SUCH_RUN",
        message: `Cannot find run ${JSON.stringify(word)} in ${JSON.stringify(runs_dir)}`,
        hint,
      });
    }
  });
});

Deno.test("latest is the run that started last, whatever was copied or written since", async () => {
  await inFolder(async (runs_dir) => {
    const times = { "a-20260101-100000-aaaa": 0, second: 2, third: 3, "copy of third": 3 };
    let written = 1000;
    for (const [id, hour] of Object.entries(times)) {
      const run_dir = join(runs_dir, id);
      await Deno.mkdir(run_dir);
      await Deno.writeTextFile(join(run_dir, "run.duckdb"), "");
      await Deno.utime(join(run_dir, "run.duckdb"), written++, written);
      const facts = { run_id: id.replace("copy of ", ""), name: "a", started_at: `2026-02-01T0${hour}:00:00Z` };
      if (hour > 0) await Deno.writeTextFile(join(run_dir, "run.json"), JSON.stringify(facts));
    }
    const order = ["third", "copy of third", "second", "a-20260101-100000-aaaa"];
    assert.deepEqual((await listRuns(runs_dir)).map(({ id }) => id), order);
    assert.equal(await findRun("latest", runs_dir), join(runs_dir, "third"));
    await Deno.rename(join(runs_dir, "third"), join(runs_dir, "renamed"));
    await assert.rejects(findRun("third", runs_dir), { code: "NO_SUCH_RUN", hint: "Runs: copy of third, renamed." });
    await Deno.remove(join(runs_dir, "copy of third"), { recursive: true });
    assert.equal(await findRun("third", runs_dir), join(runs_dir, "renamed"));
  });
});

Deno.test("a copy of a live run's folder is not live: nobody reaches the original through it", async () => {
  await inFolder(async (dir) => {
    const [run_dir, copy] = [join(dir, "run"), join(dir, "copy")];
    await Deno.mkdir(run_dir);
    await using _lock = await lockRun(run_dir);
    assert.equal(await lockHolder(run_dir), Deno.pid);
    await cp(run_dir, copy, { recursive: true });
    assert.equal(await lockHolder(copy), null);
    await using _own = await lockRun(copy);
    assert.equal(await lockHolder(copy), Deno.pid);
    await Deno.rename(run_dir, join(dir, "moved"));
    assert.equal(await lockHolder(join(dir, "moved")), Deno.pid);
    await Deno.rename(join(dir, "moved"), run_dir);
  });
});
