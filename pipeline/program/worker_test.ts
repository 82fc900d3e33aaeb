import assert from "node:assert/strict";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { ProgramEvent } from "./program.ts";
import { Worker } from "./worker.ts";

const FAKE = fileURLToPath(new URL("../../tests/fixtures/fake_worker.ts", import.meta.url));

function fake(
  { flags = [], signal, silence_secs }: { flags?: string[]; signal?: AbortSignal; silence_secs?: number } = {},
) {
  const said = { lines: [] as string[], events: [] as ProgramEvent[] };
  const worker = new Worker({
    python: "unused",
    command: [Deno.execPath(), "run", "-A", FAKE, ...flags],
    log: (line) => void said.lines.push(line),
    on_event: (event) => void said.events.push(event),
    signal,
    silence_secs,
  });
  return { worker, said };
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

Deno.test("request() answers with the result, and events and stderr reach their listeners", async () => {
  const { worker, said } = fake();
  {
    await using _ = worker;
    const [first, second] = await Promise.all([worker.request("echo", { n: 1 }), worker.request("echo", { n: 2 })]);
    assert.deepEqual([first.n, second.n], [1, 2]);
  }
  assert.deepEqual(said.events[0], { event: "progress", message: "half way" });
  assert.deepEqual(said.lines, ["a word on stderr", "a word on stderr"]);
});

Deno.test("request() throws the worker's own code and hint when the worker refuses, and the worker stays", async () => {
  await using worker = fake().worker;
  await assert.rejects(worker.request("refuse", {}), {
    code: "MODEL_NOT_FOUND",
    message: "Cannot refuse: there is no such model",
    hint: "look again",
  });
  assert.equal((await worker.request("echo", { n: 3 })).n, 3);
});

Deno.test("request() throws WORKER_DIED with the last words when the process dies under it, and ever after", async () => {
  await using worker = fake().worker;
  const died = {
    code: "WORKER_DIED",
    message:
      'Cannot finish "die": the worker process exited (it ended with exit code 137; its last words: out of memory)',
    hint: "No acknowledged record is lost: `hone resume` continues from the last step.",
  };
  await assert.rejects(worker.request("die", {}), died);
  assert.equal((await worker.lost).message, "it ended with exit code 137; its last words: out of memory");
  await assert.rejects(worker.request("echo", {}), { code: "WORKER_DIED" });
});

Deno.test("request() throws WORKER_DIED when something other than the protocol is on stdout", async () => {
  await using worker = fake().worker;
  const cause = "it wrote a line that is not JSON: Fetching 3 files: 100%";
  await assert.rejects(worker.request("garbage", {}), {
    code: "WORKER_DIED",
    message: `Cannot finish "garbage": the worker process exited (${cause})`,
  });
});

Deno.test("request() throws WORKER_DIED when the program cannot be started", async () => {
  const options = { python: "/no/such/python", log: () => {}, on_event: () => {} };
  await using worker = new Worker(options);
  await assert.rejects(worker.request("hello", {}), { code: "WORKER_DIED", message: /ENOENT|No such file/ });
});

Deno.test("request() throws WORKER_TIMEOUT when no answer comes in time, and the worker can be asked again", async () => {
  await using worker = fake().worker;
  await worker.request("echo", {});
  await assert.rejects(worker.request("silent", {}, 0.1), {
    code: "WORKER_TIMEOUT",
    message: 'Cannot finish "silent": the worker did not answer within 0.1 s',
  });
  assert.equal((await worker.request("echo", { n: 4 })).n, 4);
});

Deno.test("dispose ends the worker and what it started", async () => {
  const { worker } = fake();
  const { pid, child } = await worker.request<{ pid: number; child: number }>("child", {});
  assert.deepEqual([alive(pid), alive(child)], [true, true]);
  await worker[Symbol.asyncDispose]();
  await gone(pid, child);
});

Deno.test("dispose ends a worker that does not hear that its input has ended", async () => {
  const { worker } = fake({ flags: ["--deaf"] });
  const { pid } = await worker.request<{ pid: number }>("echo", {});
  await worker[Symbol.asyncDispose]();
  await gone(pid);
});

Deno.test("abort ends the worker at once, whatever it is doing", async () => {
  const stop = new AbortController();
  await using worker = fake({ flags: ["--deaf"], signal: stop.signal }).worker;
  const { pid } = await worker.request<{ pid: number }>("echo", {});
  const waiting = worker.request("silent", {});
  stop.abort();
  await assert.rejects(waiting, { code: "WORKER_DIED", message: /it ended with SIGKILL/ });
  await gone(pid);
});

Deno.test("request() gives up a worker that sends no sign of life, and keeps one that does", async () => {
  await using worker = fake({ silence_secs: 1.5 }).worker;
  assert.equal((await worker.request("busy", { ms: 2000 })).done, true);
  const cause = "it gave no sign of life for 1.5 s";
  await assert.rejects(worker.request("silent", {}), {
    code: "WORKER_DIED",
    message: `Cannot finish "silent": the worker process exited (${cause})`,
  });
  assert.equal((await worker.lost).message, cause);
});

/** Killed processes are gone once init, or whoever it is here, has reaped them. */
async function gone(...pids: number[]) {
  while (pids.some((pid) => alive(pid) && !isZombie(pid))) await new Promise((resolve) => setTimeout(resolve, 20));
}

function isZombie(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}
