import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline_schema } from "../config/pipeline_schema.ts";
import type { HoneError } from "../diagnostics/mod.ts";
import type { Catalog, JsonObject, Scenario } from "../events.ts";
import type { Environments, Lease } from "../mcp/pool/pool.ts";
import type { LlmRequest } from "../plugin.ts";
import { findTape, openTape, type Tape } from "../tape/mod.ts";
import type { TapedLlm } from "../tape/lines.ts";
import { openaiStandIn } from "../../tests/fixtures/llm_endpoints.ts";
import { llmRun, question } from "../../tests/fixtures/llm_run.ts";

const SCORE: JsonObject = { type: "object", properties: { score: { type: "number" } }, required: ["score"] };
const CATALOG: Catalog = { servers: [], tools: [], schema_hash: "" };
const SCENARIO: Scenario = { id: "s", task: "", split: "train", tags: [], checks: [] };

/** The tape of a run in `dir`, whose environments are folders below it. */
async function tapeOf(dir: string, mode: "record" | "replay", more: JsonObject = {}, resumed = false): Promise<Tape> {
  const path = join(dir, "tape.jsonl");
  const config = pipeline_schema.parse({
    name: "test",
    stages: [{ use: "rollout/chat" }],
    tape: { mode, path, ...more },
  });
  const run_dir = join(dir, mode);
  const source = await findTape(config, { run_dir, resumed, trainer: false });
  const environments: Environments = {
    discover: () => Promise.resolve(CATALOG),
    lease: async ({ rollout_id }) => {
      const workdir = join(run_dir, "env", rollout_id, "work");
      await mkdir(workdir, { recursive: true });
      return { id: rollout_id, workdir, tools: [], release: () => Promise.resolve() } as unknown as Lease;
    },
  };
  const log = { debug: () => {}, info: () => {}, warn: () => {} };
  return await openTape({
    source: source!,
    config,
    run_dir,
    resumed,
    trainer: false,
    environments,
    log,
    fail: (error) => assert.fail(error),
  });
}

/** The folder that a rollout sees. */
async function workdirOf(tape: Tape, rollout_id: string): Promise<string> {
  const { signal } = new AbortController();
  const lease = await tape.environments.lease({ rollout_id, scenario: SCENARIO, catalog: CATALOG, signal });
  return lease.workdir ?? (lease as unknown as { shown_workdir: string }).shown_workdir;
}

async function folder() {
  const path = await mkdtemp(join(tmpdir(), "hone-llm-tape-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function linesOf(dir: string): Promise<TapedLlm[]> {
  const lines = (await readFile(join(dir, "tape.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line));
  return lines.filter(({ type }) => type === "llm");
}

Deno.test("a replay answers what a recording answered, cached or not, failed or not, and asks nobody", async () => {
  Deno.env.set("HONE_LLM_TEST_TAPED", "k3y-that-is-not-on-tape");
  await using dir = await folder();
  const say = ['{"score": 1}', "no JSON at all", "none again", "See k3y-that-is-not-on-tape."];
  const endpoint = openaiStandIn((_, index) => say[index]!);
  const keyed = { ...endpoint.endpoint, api_key_env: "HONE_LLM_TEST_TAPED" };
  const asked: LlmRequest[] = [
    question({ endpoint: keyed, schema: SCORE }),
    question({ endpoint: keyed, schema: SCORE, seed: 1 }),
    question({ endpoint: keyed, schema: SCORE }),
    question({ endpoint: keyed, messages: [{ role: "user", content: "Is k3y-that-is-not-on-tape a good key?" }] }),
  ];
  const answers = async (tape: Tape) => {
    await using _ = tape;
    await using run = await llmRun({ tape });
    const told: unknown[] = [];
    for (const one of asked) {
      told.push(await run.llm.ask(one).catch(({ code, message, hint }: HoneError) => ({ code, message, hint })));
    }
    return { told, calls: run.calls, kept: await readdir(join(run.cache_dir, "llm")).catch(() => []) };
  };
  const recorded = await answers(await tapeOf(dir.path, "record"));
  await endpoint[Symbol.asyncDispose]();
  Deno.env.delete("HONE_LLM_TEST_TAPED");
  const lines = await linesOf(dir.path);
  assert.deepEqual(lines.map(({ stage, outcome, reply }) => [stage, outcome, reply?.cached]), [
    ["rubric", "ok", false],
    ["rubric", "LLM_NOT_AS_ASKED", undefined],
    ["rubric", "ok", true],
    ["rubric", "ok", false],
  ]);
  assert.ok(!JSON.stringify(lines).includes("k3y-that"));
  assert.equal(lines[3]!.reply!.text, "See [redacted].");
  const replayed = await answers(await tapeOf(dir.path, "replay"));
  const seconds = (told: unknown) => JSON.parse(JSON.stringify(told, (key, value) => key === "seconds" ? 0 : value));
  assert.deepEqual(seconds(replayed.told), seconds(recorded.told));
  assert.deepEqual(
    replayed.calls.map(({ outcome, cached, prompt_tokens, tries }) => ({ outcome, cached, prompt_tokens, tries })),
    recorded.calls.map(({ outcome, cached, prompt_tokens }) => ({
      outcome,
      cached,
      // The tape says of a failure that it was one.
      prompt_tokens: outcome === "ok" ? prompt_tokens : 0,
      tries: 0,
    })),
  );
  assert.deepEqual([recorded.kept.length, replayed.kept], [2, []]);
});

Deno.test("a replay finds questions that speak of rollouts' folders, whatever these are called now", async () => {
  await using dir = await folder();
  await using endpoint = openaiStandIn(({ body }) => `I saw ${JSON.stringify(body.messages)}`);
  const ask = async (tape: Tape) => {
    await using _ = tape;
    await using run = await llmRun({ tape });
    const folders = [await workdirOf(tape, "r1"), await workdirOf(tape, "r-two")];
    const content = `Compare ${folders[0]}/a.txt with ${folders[1]}/a.txt.`;
    return (await run.llm.ask(question({ endpoint: endpoint.endpoint, messages: [{ role: "user", content }] }))).text;
  };
  await ask(await tapeOf(dir.path, "record"));
  const masked = "Compare ${workdir}/a.txt with ${workdir}/a.txt.";
  assert.deepEqual((await linesOf(dir.path))[0]!.request.messages, [{ role: "user", content: masked }]);
  const text = await ask(await tapeOf(dir.path, "replay"));
  assert.equal(text, `I saw ${JSON.stringify([{ role: "user", content: masked }])}`);
  assert.equal(endpoint.requests.length, 1);
});

Deno.test("a replay says what it was asked and what the tape has, or asks the endpoint where it may", async () => {
  await using dir = await folder();
  await using endpoint = openaiStandIn((_, index) => `answer ${index}`);
  const asked = question({ endpoint: endpoint.endpoint });
  {
    await using tape = await tapeOf(dir.path, "record");
    await using run = await llmRun({ tape });
    await run.llm.ask(asked);
  }
  await using tape = await tapeOf(dir.path, "replay");
  await using run = await llmRun({ tape });
  const misses = async (request: LlmRequest, stage: string, has: string) =>
    await assert.rejects(run.client.for(stage, new AbortController().signal).ask(request), {
      code: "TAPE_MISS",
      message: `The tape has no such answer: stage "${stage}" asked model "judge-1" after ` +
        `user ${JSON.stringify(request.messages.at(-1)!.content)}; the tape ${has}`,
      hint: "Record the tape again, or set `tape.on_miss: live`.",
    });
  const other = { ...asked, messages: [{ role: "user" as const, content: "How bad is it?" }] };
  await misses(other, "rubric", "has 1 answer for this stage, none after that message");
  await misses(other, "pairwise", "has none for this stage");
  await misses(
    { ...asked, max_tokens: 65, seed: 1 },
    "rubric",
    "has 1 answer for this stage, one after that message (different: max_tokens, seed)",
  );
  assert.equal((await run.llm.ask(asked)).text, "answer 0");
  assert.deepEqual(run.calls.map(({ outcome }) => outcome), ["TAPE_MISS", "TAPE_MISS", "TAPE_MISS", "ok"]);
  await using lenient = await tapeOf(dir.path, "replay", { on_miss: "live" });
  await using live = await llmRun({ tape: lenient, limits: { calls: 2 } });
  assert.equal((await live.llm.ask(asked)).text, "answer 0");
  for (const text of ["answer 1", "answer 2"]) assert.equal((await live.llm.ask(other)).text, text);
  await assert.rejects(live.llm.ask({ ...other, seed: 2 }), { code: "LLM_LIMIT" });
  assert.deepEqual(await readdir(live.cache_dir), []);
});

Deno.test("a replay gives several answers to one question in order, the last again, and no failure that was mended", async () => {
  await using dir = await folder();
  await using endpoint = openaiStandIn((_, index) => ["first", " ", " ", "second"][index]!);
  const asked = question({ endpoint: endpoint.endpoint });
  // Each start has an empty cache: it asks again.
  for (const resumed of [false, true, true, true]) {
    await using tape = await tapeOf(dir.path, "record", {}, resumed);
    await using run = await llmRun({ tape });
    await run.llm.ask(asked).catch(() => {});
  }
  assert.deepEqual((await linesOf(dir.path)).map(({ outcome }) => outcome), ["ok", "LLM_EMPTY", "LLM_EMPTY", "ok"]);
  await using tape = await tapeOf(dir.path, "replay");
  await using run = await llmRun({ tape });
  const texts = [];
  for (let i = 0; i < 4; i++) texts.push((await run.llm.ask(asked)).text);
  assert.deepEqual(texts, ["first", "second", "second", "second"]);
});

Deno.test("a recording has no line of a question that nobody waited for any more", async () => {
  await using dir = await folder();
  await using endpoint = openaiStandIn(() => "hang");
  await using tape = await tapeOf(dir.path, "record");
  await using run = await llmRun({ tape });
  const stop = new AbortController();
  const waiting = run.client.for("rubric", stop.signal).ask(question({ endpoint: endpoint.endpoint }));
  while (endpoint.requests.length === 0) await new Promise((go) => setTimeout(go, 5));
  stop.abort(new Error("stopped"));
  await assert.rejects(waiting, { message: "stopped" });
  assert.deepEqual(await linesOf(dir.path), []);
  assert.deepEqual(run.calls.map(({ outcome }) => outcome), ["cancelled"]);
});
