import assert from "node:assert/strict";
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { JsonObject } from "../events.ts";
import { anthropicStandIn, failure, openaiStandIn } from "../../tests/fixtures/llm_endpoints.ts";
import { llmRun, question } from "../../tests/fixtures/llm_run.ts";

const SCORE: JsonObject = {
  type: "object",
  properties: { score: { type: "number" }, reason: { type: "string" } },
  required: ["score", "reason"],
  additionalProperties: false,
};

Deno.test("ask() asks an OpenAI-compatible endpoint, and records what came of it", async () => {
  await using endpoint = openaiStandIn(() => "Quite good.");
  await using run = await llmRun();
  const reply = await run.llm.ask(question({ endpoint: endpoint.endpoint, seed: 3 }));
  const { seconds, ...said } = reply;
  assert.deepEqual(said, {
    text: "Quite good.",
    model: "judge-1-2026",
    prompt_tokens: 10,
    output_tokens: 5,
    cached: false,
  });
  assert.ok(seconds > 0);
  assert.deepEqual(endpoint.requests.map(({ body }) => body), [{
    model: "judge-1",
    messages: [{ role: "user", content: "How good is it?" }],
    max_tokens: 64,
    temperature: 0,
    seed: 3,
  }]);
  const [{ key, ...call }] = run.calls as [typeof run.calls[0]];
  assert.match(key, /^[0-9a-f]{64}$/);
  assert.deepEqual(call, {
    stage: "rubric",
    api: "openai",
    model: "judge-1",
    cached: false,
    outcome: "ok",
    prompt_tokens: 10,
    output_tokens: 5,
    seconds,
    tries: 1,
    request: {
      api: "openai",
      base_url: endpoint.endpoint.base_url,
      body: {},
      max_tokens: 64,
      messages: [{ role: "user", content: "How good is it?" }],
      model: "judge-1",
      seed: 3,
      temperature: 0,
    },
    reply: { text: "Quite good.", model: "judge-1-2026" },
    usd: null,
  });
});

Deno.test("ask() asks the Anthropic API, a schema by a tool that it must call", async () => {
  Deno.env.set("HONE_LLM_TEST_CLAUDE", "sk-ant-0123456789");
  await using endpoint = anthropicStandIn(() => '{"score": 0.5, "reason": "half"}', "sk-ant-0123456789");
  await using run = await llmRun();
  const reply = await run.llm.ask(question({
    endpoint: { ...endpoint.endpoint, api_key_env: "HONE_LLM_TEST_CLAUDE" },
    messages: [{ role: "system", content: "Be strict." }, { role: "user", content: "How good is it?" }],
    schema: SCORE,
    seed: 3,
  }));
  assert.deepEqual(reply.json, { score: 0.5, reason: "half" });
  assert.deepEqual([reply.text, reply.prompt_tokens, reply.output_tokens], ['{"score":0.5,"reason":"half"}', 10, 5]);
  assert.deepEqual(endpoint.requests.map(({ body }) => body), [{
    model: "judge-1",
    max_tokens: 64,
    system: "Be strict.",
    messages: [{ role: "user", content: "How good is it?" }],
    temperature: 0,
    tools: [{ name: "reply", description: "Takes your reply.", input_schema: SCORE }],
    tool_choice: { type: "tool", name: "reply", disable_parallel_tool_use: true },
  }]);
  assert.deepEqual(endpoint.refused, []);
});

Deno.test("ask() answers an equal question from the cache, of this run or an earlier one, in private files", async () => {
  await using endpoint = openaiStandIn((_, index) => `answer ${index}`);
  await using run = await llmRun();
  const asked = question({ endpoint: endpoint.endpoint, temperature: 0 });
  const first = await run.llm.ask(asked);
  const again = await run.llm.ask(
    question({ endpoint: { ...endpoint.endpoint, body: {}, headers: { "x-run": "2" } } }),
  );
  assert.deepEqual(again, { ...first, seconds: 0, cached: true });
  await using later = await llmRun({ cache_dir: run.cache_dir });
  assert.deepEqual(await later.llm.ask(asked), again);
  const others = [
    { temperature: 0.5 },
    { seed: 1 },
    { max_tokens: 65 },
    { endpoint: { ...endpoint.endpoint, body: { reasoning_effort: "low" } } },
    { endpoint: { ...endpoint.endpoint, model: "judge-2" } },
    { messages: [{ role: "user" as const, content: "How bad is it?" }] },
  ];
  for (const [i, other] of others.entries()) {
    assert.equal((await run.llm.ask({ ...asked, ...other })).text, `answer ${i + 1}`);
  }
  assert.deepEqual(later.calls.map(({ cached, tries, outcome, seconds }) => ({ cached, tries, outcome, seconds })), [
    { cached: true, tries: 0, outcome: "ok", seconds: 0 },
  ]);
  const folder = join(run.cache_dir, "llm");
  const files = await readdir(folder);
  assert.equal(files.length, 7);
  assert.ok(files.includes(`${run.calls[0]!.key}.json`));
  if (Deno.build.os === "windows") return;
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  for (const file of files) assert.equal((await stat(join(folder, file))).mode & 0o777, 0o600);
});

Deno.test("ask() asks once for equal questions at the same time, also where who began leaves", async () => {
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  await using endpoint = openaiStandIn(async () => {
    begun.resolve();
    await gate.promise;
    return "one for all";
  });
  await using run = await llmRun();
  const stop = new AbortController();
  const asked = question({ endpoint: endpoint.endpoint });
  const first = run.client.for("pairwise", stop.signal).ask(asked);
  const [second, third] = [run.llm.ask(asked), run.llm.ask(asked)];
  await begun.promise;
  stop.abort(new Error("stopped"));
  await assert.rejects(first, { message: "stopped" });
  const fourth = run.llm.ask(asked);
  gate.resolve();
  const replies = await Promise.all([second, third, fourth]);
  assert.deepEqual(replies.map(({ text, cached, seconds }) => ({ text, cached, seconds })), [
    { text: "one for all", cached: true, seconds: 0 },
    { text: "one for all", cached: true, seconds: 0 },
    { text: "one for all", cached: true, seconds: 0 },
  ]);
  assert.equal(endpoint.requests.length, 1);
  assert.deepEqual(run.calls.map(({ stage, cached, tries }) => [stage, cached, tries]), [
    ["pairwise", false, 1],
    ["rubric", true, 0],
    ["rubric", true, 0],
    ["rubric", true, 0],
  ]);
});

Deno.test("ask() keeps only what can be used, and goes on where the cache cannot be written or read", async () => {
  const warnings: string[] = [];
  await using endpoint = openaiStandIn((_, index) => index === 0 ? " " : `answer ${index}`);
  await using run = await llmRun({ log: { warn: (line) => void warnings.push(line) } });
  const asked = question({ endpoint: endpoint.endpoint });
  await assert.rejects(run.llm.ask(asked), {
    code: "LLM_EMPTY",
    message: `Cannot use the reply of model "judge-1" at ${endpoint.endpoint.base_url}/chat/completions: it is empty`,
  });
  assert.equal((await run.llm.ask(asked)).text, "answer 1");
  const file = join(run.cache_dir, "llm", `${run.calls[0]!.key}.json`);
  assert.equal(JSON.parse(await readFile(file, "utf8")).text, "answer 1");
  await writeFile(file, '{"version":1,"text":');
  assert.equal((await run.llm.ask(asked)).text, "answer 2");
  const blocked = join(run.cache_dir, "blocked");
  await writeFile(blocked, "a file where a folder should be");
  await using other = await llmRun({ cache_dir: blocked, log: { warn: (line) => void warnings.push(line) } });
  assert.equal((await other.llm.ask(asked)).text, "answer 3");
  assert.equal((await other.llm.ask(asked)).text, "answer 4");
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0]!,
    /^Cannot cache replies of language models in ".*blocked\/llm": ENOTDIR.*; repeated requests will be sent again$/,
  );
});

Deno.test("ask() makes a cache private that others could read", { ignore: Deno.build.os === "windows" }, async () => {
  await using endpoint = openaiStandIn(() => "ok");
  await using run = await llmRun();
  await Deno.mkdir(join(run.cache_dir, "llm"));
  await chmod(join(run.cache_dir, "llm"), 0o755);
  await run.llm.ask(question({ endpoint: endpoint.endpoint }));
  assert.equal((await stat(join(run.cache_dir, "llm"))).mode & 0o777, 0o700);
});

Deno.test("ask() refuses before it asks when a limit is used up, and what is cached costs nothing", async () => {
  await using endpoint = openaiStandIn(() => "ok");
  await using run = await llmRun({ limits: { calls: 3 }, spent: { calls: 1, tokens: 0, usd: 0 } });
  const asked = (content: string) => question({ endpoint: endpoint.endpoint, messages: [{ role: "user", content }] });
  for (const content of ["a", "a", "b", "b"]) await run.llm.ask(asked(content));
  await assert.rejects(run.llm.ask(asked("c")), {
    code: "LLM_LIMIT",
    message: 'Cannot ask model "judge-1": limits.llm_calls (3) is used up',
    hint: "Raise it in the pipeline file, then `hone resume`.",
  });
  assert.equal((await run.llm.ask(asked("a"))).cached, true);
  assert.equal(endpoint.requests.length, 2);
  assert.deepEqual(run.calls.map(({ outcome, tries }) => [outcome, tries]), [
    ["ok", 1],
    ["ok", 0],
    ["ok", 1],
    ["ok", 0],
    ["LLM_LIMIT", 0],
    ["ok", 0],
  ]);
  assert.deepEqual(run.client.spent, { calls: 3, tokens: 30, usd: 0 });
});

Deno.test("ask() counts tokens as the endpoint does, of repairs and failures too, and estimates where it does not", async () => {
  const silent = { choices: [{ message: { role: "assistant", content: "x".repeat(40) }, finish_reason: "stop" }] };
  await using endpoint = openaiStandIn((_, index) => ["not JSON", "still not", silent, "more"][index]!);
  await using run = await llmRun({ limits: { tokens: 31 } });
  const asked = question({ endpoint: endpoint.endpoint });
  await assert.rejects(run.llm.ask({ ...asked, schema: SCORE }), { code: "LLM_NOT_AS_ASKED" });
  assert.deepEqual(run.client.spent, { calls: 1, tokens: 30, usd: 0 });
  const { prompt_tokens, output_tokens } = await run.llm.ask(asked);
  assert.equal(output_tokens, 10);
  assert.equal(prompt_tokens, Math.ceil(JSON.stringify(endpoint.requests[2]!.body).length / 4));
  await assert.rejects(run.llm.ask({ ...asked, max_tokens: 9 }), {
    message: 'Cannot ask model "judge-1": limits.llm_tokens (31) is used up',
  });
  assert.deepEqual(run.calls.map(({ tries, prompt_tokens, output_tokens }) => [tries, prompt_tokens, output_tokens]), [
    [2, 20, 10],
    [1, prompt_tokens, 10],
    [0, 0, 0],
  ]);
});

Deno.test("ask() sends so many requests at once and no more", async () => {
  let [now, most] = [0, 0];
  const three = Promise.withResolvers<void>();
  await using endpoint = openaiStandIn(async () => {
    most = Math.max(most, ++now);
    if (now === 3) three.resolve();
    await three.promise;
    now--;
    return "ok";
  });
  await using run = await llmRun({ at_once: 3 });
  const seeds = Array.from({ length: 12 }, (_, seed) => seed);
  await Promise.all(seeds.map((seed) => run.llm.ask(question({ endpoint: endpoint.endpoint, seed }))));
  assert.deepEqual([most, endpoint.requests.length], [3, 12]);
});

Deno.test("ask() gives a reply out when its record is on disk, and fails where it cannot be", async () => {
  const order: string[] = [];
  await using endpoint = openaiStandIn(() => "ok");
  await using run = await llmRun({
    record: async () => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push("recorded");
    },
  });
  await run.llm.ask(question({ endpoint: endpoint.endpoint })).then(() => order.push("answered"));
  assert.deepEqual(order, ["recorded", "answered"]);
  await using full = await llmRun({ record: () => Promise.reject(new Error("the disk is full")) });
  await assert.rejects(full.llm.ask(question({ endpoint: endpoint.endpoint })), { message: "the disk is full" });
});

Deno.test("ask() snapshots the question: what a plugin changes later is not asked", async () => {
  await using endpoint = openaiStandIn((_, index) =>
    index === 0 ? failure(503, "busy", { "retry-after-ms": "1" }) : "ok"
  );
  await using run = await llmRun();
  const asked = question({ endpoint: endpoint.endpoint });
  const reply = run.llm.ask(asked);
  asked.messages.push({ role: "assistant", content: "changed" });
  await reply;
  assert.deepEqual(endpoint.requests.map(({ body }) => (body.messages as []).length), [1, 1]);
});
