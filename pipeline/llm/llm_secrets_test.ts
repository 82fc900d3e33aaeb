import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { HoneError } from "../diagnostics/mod.ts";
import type { JsonObject } from "../events.ts";
import type { LlmQuestion } from "../tape/tape.ts";
import { failure, openaiStandIn } from "../../tests/fixtures/llm_endpoints.ts";
import { type LlmRun, llmRun, question } from "../../tests/fixtures/llm_run.ts";

const KEY = "k3y-that-nobody-may-see";
const HEADER = "h3ader-that-nobody-may-see";
const PASSWORD = "p4ss-that/nobody-may-see";
const SCORE: JsonObject = { type: "object", properties: { why: { type: "string" } }, required: ["why"] };

/** Everything that a run leaves behind or says, as one text. */
async function leavings({ calls, cache_dir }: LlmRun, ...said: unknown[]): Promise<string> {
  const folder = join(cache_dir, "llm");
  const names = await readdir(folder).catch(() => [] as string[]);
  const files = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  return JSON.stringify([calls, names, files, said]);
}

Deno.test("ask() leaves no secret anywhere, whatever the endpoint repeats of it", async () => {
  Deno.env.set("HONE_LLM_TEST_SECRET", KEY);
  await using endpoint = openaiStandIn(({ headers }, index) => {
    const sent = `${headers.get("authorization")} ${headers.get("x-team")} ${PASSWORD}`;
    const answers = [JSON.stringify({ why: sent }), failure(401, `bad key ${sent}`), `You sent ${sent}`];
    return answers[index] ?? `{"${sent}": 1}`;
  });
  const taped: unknown[] = [];
  const tape = {
    replays: false,
    answered: async ({ request }: LlmQuestion, ask: () => Promise<unknown>) => {
      const told = await ask().catch((error) => ({ message: error.message }));
      taped.push(told, request.base_url);
      return told as never;
    },
  };
  await using run = await llmRun({ tape });
  const { base_url } = endpoint.endpoint;
  const secret = {
    ...endpoint.endpoint,
    base_url: base_url.replace("//", `//me:${encodeURIComponent(PASSWORD)}@`),
    api_key_env: "HONE_LLM_TEST_SECRET",
    headers: { "x-team": HEADER },
  };
  const asked = question({ endpoint: secret, messages: [{ role: "user", content: `Is ${KEY} a good key?` }] });
  const said = [
    await run.llm.ask({ ...asked, schema: SCORE }),
    await run.llm.ask({ ...asked, seed: 1 }),
    await run.llm.ask({ ...asked, seed: 2 }),
    await run.llm.ask({ ...asked, schema: SCORE, seed: 3 }),
    await run.llm.ask({ ...asked, seed: 2 }),
  ];
  assert.deepEqual(endpoint.requests[0]!.headers.get("authorization"), `Bearer ${KEY}`);
  assert.deepEqual(said[0]!.json, { why: "Bearer [redacted] [redacted] [redacted]" });
  assert.equal(said[2]!.text, "You sent Bearer [redacted] [redacted] [redacted]");
  assert.deepEqual([said[4]!.text, said[4]!.cached], [said[2]!.text, true]);
  assert.equal(
    (said[1] as unknown as HoneError).message,
    `Cannot ask model "judge-1" at ${base_url}/chat/completions: it answered 401: ` +
      "test_error: bad key Bearer [redacted] [redacted] [redacted]",
  );
  assert.equal(taped[1], base_url);
  const all = await leavings(run, said, taped);
  for (const hidden of [KEY, HEADER, PASSWORD, encodeURIComponent(PASSWORD)]) assert.ok(!all.includes(hidden), all);
  assert.equal((run.calls[0]!.request as JsonObject).base_url, base_url);
  assert.deepEqual((run.calls[0]!.request as { messages: unknown }).messages, [
    { role: "user", content: "Is [redacted] a good key?" },
  ]);
});

Deno.test("ask() shows no part of a secret either, where a message is cut or the endpoint writes it another way", async () => {
  Deno.env.set("HONE_LLM_TEST_SECRET", KEY);
  const escaped = [...KEY].map((char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
  const raw = (text: string, status = 200) => new Response(text, { status });
  const answers = [
    ...[285, 295, 490, 495].map((chars) => () => raw("x".repeat(chars) + KEY, 400)),
    () => raw(`{"error":{"message":"${"x".repeat(290)}${escaped}"}}`, 400),
    ...[60, 70, 76].map((chars) => () => raw("x".repeat(chars) + KEY)),
    () => raw(`{"choices":[{"message":{"content":7}}],"you_sent":"${escaped}"}`),
    () => raw(`["${escaped}"]`),
    () => Response.json({ choices: [{ message: { content: `{"why": ${KEY}}` } }] }),
    () => Response.json({ choices: [{ message: { content: `{"why": ${"x".repeat(50)}${KEY}}` } }] }),
  ];
  await using endpoint = openaiStandIn((_, index) => answers[Math.min(index, answers.length - 1)]!());
  await using run = await llmRun();
  const keyed = { ...endpoint.endpoint, api_key_env: "HONE_LLM_TEST_SECRET" };
  const said = [];
  for (const [seed] of answers.slice(1).entries()) {
    const schema = seed < 10 ? undefined : SCORE;
    said.push(
      await run.llm.ask(question({ endpoint: keyed, seed, schema })).catch((error: HoneError) => error.message),
    );
  }
  assert.equal(endpoint.requests.length, answers.length);
  const all = await leavings(run, said);
  for (let i = 0; i + 5 <= KEY.length; i++) assert.ok(!all.includes(KEY.slice(i, i + 5)), KEY.slice(i, i + 5));
  assert.ok(!all.includes(escaped) && !all.includes(JSON.stringify(escaped).slice(1, -1)));
});

Deno.test("ask() sends the user of an address as a header where no key is sent, and two users share the cache", async () => {
  await using endpoint = openaiStandIn(() => "ok");
  await using run = await llmRun();
  const { base_url } = endpoint.endpoint;
  const by = (user: string) =>
    question({ endpoint: { ...endpoint.endpoint, base_url: base_url.replace("//", `//${user}@`) } });
  await run.llm.ask(by("m%C3%BC:pass-of-the-first"));
  await run.llm.ask(by("token-of-the-second"));
  const basic = new TextEncoder().encode("mü:pass-of-the-first");
  assert.equal(endpoint.requests[0]!.headers.get("authorization"), `Basic ${btoa(String.fromCharCode(...basic))}`);
  assert.deepEqual(run.calls.map(({ cached }) => cached), [false, true]);
  assert.equal(run.calls[0]!.key, run.calls[1]!.key);
});

Deno.test("ask() takes hostile text for what it is: data", async () => {
  const hostile = "\u0000\u001b]0;title\u0007 </script> \ud800 \u202e ${workdir} " + "A".repeat(3_000_000);
  await using endpoint = openaiStandIn(() => hostile);
  await using run = await llmRun();
  const asked = question({ endpoint: endpoint.endpoint, messages: [{ role: "user", content: hostile }] });
  const reply = await run.llm.ask(asked);
  assert.ok(reply.text === hostile);
  const again = await run.llm.ask(asked);
  assert.ok(again.text === hostile && again.cached);
  assert.equal(endpoint.requests.length, 1);
});
