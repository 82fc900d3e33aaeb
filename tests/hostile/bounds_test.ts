/** Files, queries, programs, streams and signals that would take all memory, all disk or all time. @module */
import assert from "node:assert/strict";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TooLarge } from "../../pipeline/common/bounded_body.ts";
import { readText } from "../../pipeline/common/read_text.ts";
import { Source } from "../../pipeline/config/source.ts";
import type { Json, ToolCallRecord } from "../../pipeline/events.ts";
import { serverFetch } from "../../pipeline/mcp/session/fetch.ts";
import { loadProgram } from "../../pipeline/program/exec_plugin.ts";
import { withBoundedResult } from "../../pipeline/run/stored_result.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { liveRun } from "../fixtures/small_run.ts";
import { REPEAT } from "./hostile_pool.ts";
import { folder, hone, ROOT, rows, settings, start, startRun } from "../runs/hone_process.ts";

async function fifo(path: string): Promise<string> {
  const { success } = await new Deno.Command("mkfifo", { args: [path] }).output();
  assert.ok(success);
  return path;
}

/** A pipeline that needs nothing but the files that it names. */
function pipelineText({ servers = `{ s: { command: "true" } }`, prompt = "Go.", scenarios = "./s.yaml" } = {}): string {
  return `name: bounds
agent: { system_prompt: ${prompt}, endpoint: { base_url: "http://127.0.0.1:9/v1", model: none } }
servers: ${servers}
stages:
  - use: discoverer/mcp
  - { use: scenario-source/file, with: { path: ${scenarios} } }
  - use: rollout/chat
  - use: judge/answer
  - use: reward-shaper/weighted
ladder: []
`;
}

const SCENARIOS = "- { id: a, task: Go., split: heldout, answer: { equals: x } }\n";

Deno.test("a named pipe or a device in place of a file is refused at once, wherever a file is read", async () => {
  await using dir = await folder();
  const at = (name: string) => join(dir.path, name);
  const pipe = await fifo(at("pipe.yaml"));
  const plain = at("plain.yaml");
  await writeFile(at("s.yaml"), SCENARIOS);
  const write = async (name: string, text: string) => {
    await writeFile(at(name), text);
    return at(name);
  };
  await writeFile(plain, pipelineText());
  const attacks: [string, string[]][] = [
    ["the pipeline", ["run", pipe, "--yes"]],
    ["a device", ["validate", "/dev/zero"]],
    ["validate", ["validate", pipe]],
    ["scenarios", ["validate", await write("1.yaml", pipelineText({ scenarios: "./pipe.yaml" }))]],
    ["servers", ["validate", await write("2.yaml", pipelineText({ servers: "./pipe.yaml" }))]],
    ["the prompt", ["validate", await write("3.yaml", pipelineText({ prompt: "./pipe.yaml" }))]],
    ["--config", ["discover", "--config", pipe]],
    ["--against", ["discover", "--against", pipe, "--", ...server()]],
    ["a tape", ["run", plain, "--yes", "--run-dir", at("run"), "--set", `tape={"mode":"replay","path":"${pipe}"}`]],
  ];
  for (const [what, words] of attacks) {
    const { code, out, err } = await hone(...words);
    assert.notEqual(code, 0, what);
    const wanted = /it is a (named pipe|device): expected a regular file/;
    assert.match(out + err, wanted, `${what}: ${out}${err}`);
  }
  // A folder's pipelines are found although something beside them cannot be read.
  const { code, err } = await hone("validate", plain);
  assert.equal(code, 0, err);
});

function server(): string[] {
  return [Deno.execPath(), "run", "-A", join(ROOT, "tests/fixtures/odd_server.ts"), "plain"];
}

Deno.test("readText() reads no more than the limit, also of files that grow or have no size", async () => {
  await using dir = await folder();
  const path = join(dir.path, "a");
  await writeFile(path, "\ufeffwhole é");
  assert.equal(await readText(path), "whole é");
  await assert.rejects(readText(path, 5), {
    code: "NOT_READABLE",
    message: "it has 11 bytes: expected at most 5 bytes",
  });
  assert.match(await readText("/proc/self/status"), /^Name:/);
  await assert.rejects(readText("/proc/self/status", 20), { code: "NOT_READABLE" });
  await assert.rejects(readText(dir.path), { code: "EISDIR" });
  await Deno.truncate(path, 5e9);
  await assert.rejects(readText(path), { message: "it has 5 GB: expected at most 32 MB" });
});

Deno.test("YAML bombs, unknown and circular aliases and deep nesting are refused at their place", async () => {
  const bomb = ["a: &a [x,x,x,x,x,x,x,x,x]"];
  for (const [i, name] of [..."bcdefghi"].entries()) {
    bomb.push(`${name}: &${name} [${Array(9).fill(`*${"abcdefgh"[i]}`).join(",")}]`);
  }
  const wide = `a: &a ${"x".repeat(1e6)}\nb: [${Array(100).fill("*a").join(",")}]`;
  for (
    const [text, cause] of [
      [bomb.join("\n"), "its aliases make it too large: expected less repetition"],
      [wide, "its aliases make it too large: expected less repetition"],
      ["a: *b", "there is no anchor &b before the alias *b"],
      ["a: &a [*a]", "the alias *a stands for a value that it is part of"],
      ["[".repeat(1e5), "it is nested more than 1000 deep"],
      [`${"- ".repeat(1e5)}a`, "it is nested more than 1000 deep"],
      [Array.from({ length: 3000 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"), "it is nested too deep"],
    ] as const
  ) {
    const [problem, ...more] = new Source(text, "f.yaml").syntax();
    assert.equal(problem?.message, `Cannot read the YAML: ${cause}`);
    assert.deepEqual(more, []);
  }
  const shared = `a: &a { x: 1 }\nb: [${Array(3000).fill("*a").join(",")}]`;
  assert.equal((new Source(shared, "f.yaml").raw as { b: unknown[] }).b.length, 3000);
  await using dir = await folder();
  const path = join(dir.path, "p.yaml");
  await writeFile(path, bomb.join("\n"));
  const { code, err } = await hone("validate", path);
  assert.equal(code, 2);
  assert.doesNotMatch(err, /\n\s+at /);
  await writeFile(path, pipelineText({ scenarios: "./s.jsonl" }));
  await writeFile(join(dir.path, "s.jsonl"), `{"id":"a","task":"Go.","checks":${"[".repeat(1e5)}${"]".repeat(1e5)}}`);
  const deep = await hone("validate", path);
  assert.equal(deep.code, 2);
  assert.match(deep.out + deep.err, /it is nested more than 1000 deep/);
});

/** Never ends by itself. */
const ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE (a.range * b.range) % 7 = 1";

Deno.test("a query of a live run and of an ended one has limits, and is interrupted when its client goes away", async () => {
  await using dir = await folder();
  const { run_dir, end } = await liveRun(dir.path, "r");
  const attack = async () => {
    await using run = await openRun(run_dir);
    const asked = (sql: string, limits: Parameters<typeof run.query>[1]) => run.query(sql, limits);
    await assert.rejects(asked(ENDLESS, { timeout_secs: 0.2 }), { code: "QUERY_TIMEOUT" });
    await assert.rejects(asked("FROM range(100000000)", { max_rows: 1000 }), { code: "QUERY_TOO_LARGE" });
    await assert.rejects(asked("SELECT repeat('x', 1000) FROM range(100000000)", { max_bytes: 100_000 }), {
      code: "QUERY_TOO_LARGE",
    });
    // Two at once are all that a live run answers: with any of them going on, nothing would be answered after.
    for (let round = 0; round < REPEAT; round++) {
      const left = new AbortController();
      const endless = [1, 2].map(() => assert.rejects(asked(ENDLESS, { signal: left.signal }), { message: "gone" }));
      await sleep(100);
      left.abort(new Error("gone"));
      await Promise.all(endless);
      assert.deepEqual(await asked("SELECT 42 AS n", { timeout_secs: 20 }), [{ n: 42 }]);
    }
  };
  await attack();
  await end("completed");
  await attack();
  const { code, err } = await hone("query", run_dir, ENDLESS, "--timeout-secs", "0.2");
  assert.equal(code, 2);
  assert.match(err, /it took more than 0.2 s and was stopped/);
});

Deno.test("an exec: program that never ends its line is ended, with a message", async () => {
  await using dir = await folder();
  const program = join(dir.path, "endless.sh");
  await writeFile(program, "#!/bin/sh\nhead -c 100000000 /dev/zero >&2 &\nexec tr '\\0' x < /dev/zero\n");
  await chmod(program, 0o755);
  await assert.rejects(loadProgram("exec:./endless.sh", dir.path), {
    code: "EXEC_FAILED",
    message: /it wrote a line of more than 64000000 bytes/,
  });
});

Deno.test("an event stream may go on for ever, but no event of it", async () => {
  const line = new TextEncoder().encode(`data: ${"x".repeat(1000)}\n`);
  const beat = new TextEncoder().encode(`: still here\r\n\r\n`);
  await using listening = Deno.serve({ port: 0, onListen: () => {} }, ({ url }) => {
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(url.endsWith("/events") ? beat : line),
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  });
  const base = `http://127.0.0.1:${listening.addr.port}`;
  const ask = serverFetch({ url: base, headers: {}, max_message_bytes: 20_000 });
  const read = async (path: string, most: number) => {
    let held = 0;
    const { body } = await ask(base + path);
    for await (const chunk of body!) if ((held += chunk.length) > most) return "went on";
  };
  assert.equal(await read("/events", 100_000), "went on");
  await assert.rejects(read("/endless", 100_000), TooLarge);
});

Deno.test("a tool result is recorded up to a limit, with a mark and the hash of the whole", async () => {
  const call = (result: Json): ToolCallRecord => ({
    ...{ type: "tool_call", turn: 0, index: 0, server: "s", tool: "t", arguments: {}, outcome: "ok" },
    ...{ text: "", result, truncated: false, seconds: 0 },
  });
  const small = call({ content: [{ type: "text", text: "small" }] });
  assert.equal(withBoundedResult(small, 1000), small);
  const huge = { content: [{ type: "text", text: "ä".repeat(1e6) }], structuredContent: { rows: Array(1e5).fill(1) } };
  const { result } = withBoundedResult(call(huge), 10_000) as unknown as {
    result: { content: [{ text: string }]; isError: boolean; cut: { bytes: number; sha256: string } };
  };
  const whole = new TextEncoder().encode(JSON.stringify(huge));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
  assert.deepEqual(result.cut, { bytes: whole.length, sha256: digest.toHex() });
  assert.equal(result.content[0].text, `${"ä".repeat(5000)}\n[cut: the whole result has ${whole.length} bytes]`);
  assert.ok(JSON.stringify(result).length < 11_000);
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const { code, err } = await startRun(run_dir, { "train.steps": 1, "limits.result_bytes": 60 }).ended;
  assert.equal(code, 0, err);
  const [found] = await rows(run_dir, "SELECT count(*) AS n FROM tool_calls WHERE result->>'$.cut.sha256' IS NOT NULL");
  assert.ok(Number(found!.n) > 0);
});

Deno.test("a run that uses more disk than it may is stopped with a message, and can be resumed", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const { code, err } = await startRun(run_dir, { "limits.disk_gb": 0.00001, "train.steps": 1 }).ended;
  assert.equal(code, 3, err);
  assert.match(err, /error\[DISK_LIMIT\] Cannot continue: the run's folder ".*" holds .*B, more than limits\.disk_gb/);
  const written = join(run_dir, "pipeline.yaml");
  const text = await readFile(written, "utf8");
  await writeFile(written, text.replace("disk_gb: 0.00001", "disk_gb: 1"));
  const resumed = await hone("resume", run_dir, "--yes");
  assert.equal(resumed.code, 0, resumed.err);
});

for (const [first, second] of [["SIGTERM", "SIGTERM"], ["SIGINT", "SIGTERM"]] as const) {
  Deno.test(`${first}, then ${second} end hone while a plugin computes for ever`, async () => {
    await using dir = await folder();
    const started = join(dir.path, "started");
    await mkdir(join(dir.path, "cache"));
    await writeFile(
      join(dir.path, "spin.ts"),
      `Deno.writeTextFileSync(${JSON.stringify(started)}, ""); for (;;);\nexport default {};\n`,
    );
    await writeFile(join(dir.path, "s.yaml"), SCENARIOS);
    const pipeline = join(dir.path, "p.yaml");
    await writeFile(pipeline, pipelineText().replace("judge/answer", "./spin.ts"));
    const running = start(["run", pipeline, "--yes", "--run-dir", join(dir.path, "run")], join(dir.path, "cache"));
    while (!(await Deno.stat(started).catch(() => null))) {
      assert.ok(running.live(), running.live() ? "" : (await running.ended).err);
      await sleep(20);
    }
    running.kill(first);
    await sleep(50);
    assert.ok(running.live());
    running.kill(second);
    assert.equal((await running.ended).code, "SIGKILL");
  });
}

Deno.test("hone validate of a folder passes over what cannot be read", async () => {
  await using dir = await folder();
  await fifo(join(dir.path, "pipe.yaml"));
  await writeFile(join(dir.path, "s.yaml"), SCENARIOS);
  await writeFile(join(dir.path, "p.yaml"), pipelineText());
  const { code, out, err } = await hone("validate", dir.path, ...settings({}));
  assert.equal(code, 0, err);
  assert.match(out, /p\.yaml: ok/);
});
