import assert from "node:assert/strict";
import type { HoneError } from "../diagnostics/mod.ts";
import type { JsonObject } from "../events.ts";
import { shutDown } from "../common/shut_down.ts";
import { anthropicStandIn, failure, openaiStandIn } from "../../tests/fixtures/llm_endpoints.ts";
import { llmRun, question } from "../../tests/fixtures/llm_run.ts";
import { MAX_REPLY_BYTES } from "./endpoint_client.ts";

const SOON = { "retry-after-ms": "1" };
const SCORE: JsonObject = {
  type: "object",
  properties: { score: { type: "number" } },
  required: ["score"],
  additionalProperties: false,
};

/** An endpoint that answers bytes, whatever it is asked. */
function rawEndpoint(handler: (index: number) => Response | Promise<Response>) {
  let index = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => handler(index++));
  const base_url = `http://127.0.0.1:${server.addr.port}/v1`;
  return {
    endpoint: { api: "openai" as const, base_url, model: "judge-1" },
    get asked() {
      return index;
    },
    [Symbol.asyncDispose]: () => shutDown(server),
  };
}

Deno.test("ask() tries again after 429, 500, 529, a conflict and an empty list of choices, as it is told to wait", async () => {
  const refusals = [
    failure(429, "slow down", { "retry-after": "0.01" }),
    failure(500, "oops", SOON),
    failure(529, "Overloaded", SOON),
    failure(409, "conflict", { "retry-after": new Date(Date.now() - 5000).toUTCString() }),
  ];
  await using endpoint = openaiStandIn((_, index) => refusals[index] ?? "fifth");
  await using run = await llmRun();
  assert.equal((await run.llm.ask(question({ endpoint: endpoint.endpoint }))).text, "fifth");
  assert.deepEqual(run.calls.map(({ outcome, tries }) => [outcome, tries]), [["ok", 5]]);
  await using hollow = openaiStandIn((_, index) => index === 0 ? { choices: [] } : "second");
  assert.equal((await run.llm.ask(question({ endpoint: hollow.endpoint }))).text, "second");
});

Deno.test("ask() gives up after five tries, and at once on what waiting does not mend", async () => {
  await using busy = openaiStandIn(() => failure(503, "busy\u001b[2J\nnow", SOON));
  await using run = await llmRun();
  const url = `${busy.endpoint.base_url}/chat/completions`;
  await assert.rejects(run.llm.ask(question({ endpoint: busy.endpoint })), {
    code: "LLM_ENDPOINT_REFUSED",
    message: `Cannot ask model "judge-1" at ${url}: it answered 503: test_error: busy\\u{1b}[2J now`,
  });
  assert.equal(busy.requests.length, 5);
  await using poor = openaiStandIn(() => failure(429, "insufficient_quota", SOON));
  await assert.rejects(run.llm.ask(question({ endpoint: poor.endpoint })), { code: "LLM_ENDPOINT_REFUSED" });
  await using full = openaiStandIn(() => failure(400, "maximum context length is 8192 tokens"));
  await assert.rejects(run.llm.ask(question({ endpoint: full.endpoint })), {
    code: "LLM_CONTEXT_FULL",
    message: `Cannot ask model "judge-1" at ${full.endpoint.base_url}/chat/completions: ` +
      "the request does not fit its context (test_error: maximum context length is 8192 tokens)",
  });
  assert.deepEqual([poor.requests.length, full.requests.length], [1, 1]);
  assert.deepEqual(run.calls.map(({ outcome, tries }) => [outcome, tries]), [
    ["LLM_ENDPOINT_REFUSED", 5],
    ["LLM_ENDPOINT_REFUSED", 1],
    ["LLM_CONTEXT_FULL", 1],
  ]);
});

Deno.test("ask() says which variable holds the key when it is not set, or not taken", async () => {
  await using endpoint = openaiStandIn(() => "ok", "the-right-key");
  await using run = await llmRun();
  const url = `${endpoint.endpoint.base_url}/chat/completions`;
  const unset = question({ endpoint: { ...endpoint.endpoint, api_key_env: "HONE_LLM_TEST_UNSET" } });
  await assert.rejects(run.llm.ask(unset), {
    code: "LLM_KEY_MISSING",
    message: `Cannot ask model "judge-1" at ${url}: the environment variable "HONE_LLM_TEST_UNSET" is not set`,
    hint: "Set it to the key of that endpoint, or remove `api_key_env` if the endpoint needs no key.",
  });
  const refused = (error: HoneError, hint: string) => {
    assert.equal(error.message, `Cannot ask model "judge-1" at ${url}: it answered 401: test_error: Incorrect API key`);
    assert.equal(error.hint, hint);
    return true;
  };
  await assert.rejects(
    run.llm.ask(question({ endpoint: endpoint.endpoint })),
    (error: HoneError) => refused(error, "Name the variable that holds its key in `api_key_env`."),
  );
  Deno.env.set("HONE_LLM_TEST_WRONG", "the-wrong-key");
  await assert.rejects(
    run.llm.ask(question({ endpoint: { ...endpoint.endpoint, api_key_env: "HONE_LLM_TEST_WRONG" } })),
    (error: HoneError) => refused(error, "Set the variable HONE_LLM_TEST_WRONG to a valid key."),
  );
  Deno.env.set("HONE_LLM_TEST_RIGHT", "the-right-key");
  const right = question({ endpoint: { ...endpoint.endpoint, api_key_env: "HONE_LLM_TEST_RIGHT" } });
  assert.equal((await run.llm.ask(right)).text, "ok");
});

Deno.test("ask() refuses an address and a schema that cannot be used before it asks anybody", async () => {
  await using run = await llmRun();
  const at = (base_url: string) => question({ endpoint: { api: "openai", base_url, model: "m" } });
  await assert.rejects(run.llm.ask(at("ftp://me:pass-word@host/v1")), {
    code: "LLM_BAD_ADDRESS",
    message: 'Cannot ask a language model at "ftp://host/v1": expected an http or https address',
  });
  await assert.rejects(run.llm.ask(at("me:pass-word@host/v1?key=of-mine")), {
    message: 'Cannot ask a language model at "host/v1": expected an http or https address',
  });
  await assert.rejects(run.llm.ask({ ...at("http://127.0.0.1:1/v1"), schema: { type: "objct" } }), {
    code: "LLM_BAD_SCHEMA",
    message:
      'Cannot ask model "m": the schema of its reply cannot be used (type must be JSONType or JSONType[]: objct)',
  });
});

Deno.test("ask() tells an endpoint that is not there from one that does not answer in time", async () => {
  await using run = await llmRun();
  const gone = rawEndpoint(() => new Response());
  await gone[Symbol.asyncDispose]();
  await assert.rejects(run.llm.ask(question({ endpoint: gone.endpoint })), (error: HoneError) => {
    assert.equal(error.code, "LLM_UNREACHABLE");
    const begins = `Cannot reach model "judge-1" at ${gone.endpoint.base_url}/chat/completions: error sending request`;
    assert.ok(error.message.startsWith(begins), error.message);
    return true;
  });
  await using slow = openaiStandIn(() => "hang");
  await assert.rejects(run.llm.ask(question({ endpoint: slow.endpoint, timeout_secs: 0.02 })), {
    code: "LLM_TIMEOUT",
    message: `Cannot ask model "judge-1" at ${slow.endpoint.base_url}/chat/completions: no answer within 0.02 s`,
  });
  assert.deepEqual(run.calls.map(({ outcome, tries }) => [outcome, tries]), [["LLM_UNREACHABLE", 5], [
    "LLM_TIMEOUT",
    5,
  ]]);
});

Deno.test("ask() keeps its time limit while an answer trickles in", async () => {
  await using trickling = rawEndpoint((index) =>
    index > 0
      ? Response.json({ choices: [{ message: { content: "whole" }, finish_reason: "stop" }] })
      : new Response(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array([123])) }))
  );
  await using run = await llmRun();
  const reply = await run.llm.ask(question({ endpoint: trickling.endpoint, timeout_secs: 0.3 }));
  assert.equal(reply.text, "whole");
  assert.ok(run.calls[0]!.tries >= 2);
});

Deno.test("ask() ends with the signal: while it is answered, between tries, and while it waits for its turn", async () => {
  await using hanging = openaiStandIn(() => "hang");
  await using run = await llmRun({ at_once: 1 });
  const stop = new AbortController();
  const llm = run.client.for("rubric", stop.signal);
  const waits = [1, 2, 3].map((seed) => llm.ask(question({ endpoint: hanging.endpoint, seed })));
  await using busy = openaiStandIn(() => failure(429, "wait", { "retry-after": "60" }));
  await using other = await llmRun();
  const stopped = new AbortController();
  const between = other.client.for("rubric", stopped.signal).ask(question({ endpoint: busy.endpoint }));
  while (hanging.requests.length === 0 || busy.requests.length === 0) await new Promise((go) => setTimeout(go, 5));
  stop.abort(new Error("the run was stopped"));
  stopped.abort(new Error("so was this"));
  const reasons = (await Promise.allSettled([...waits, between])).map((end) => "reason" in end && end.reason.message);
  assert.deepEqual(reasons, [...Array(3).fill("the run was stopped"), "so was this"]);
  await assert.rejects(llm.ask(question({ endpoint: hanging.endpoint })), { message: "the run was stopped" });
  // Only what was sent is a call.
  assert.deepEqual(run.calls.map(({ outcome, tries, reply }) => [outcome, tries, reply]), [["cancelled", 1, null]]);
  assert.deepEqual(other.calls.map(({ outcome, tries }) => [outcome, tries]), [["cancelled", 1]]);
  assert.deepEqual(run.client.spent, { calls: 1, tokens: 0, usd: 0 });
});

Deno.test("ask() refuses what is no answer of the API: too large, no JSON, nested without end, another shape", async () => {
  const large = new Uint8Array(MAX_REPLY_BYTES + 1).fill(32);
  const answers: [Response, string, string][] = [
    [new Response(large), "LLM_TOO_LARGE", "it is larger than 8 MiB"],
    [new Response("<html>\u0000"), "LLM_UNREADABLE", 'expected an OpenAI chat completion, got "<html>\\u0000"'],
    [new Response("[1]"), "LLM_UNREADABLE", 'expected an OpenAI chat completion, got "[1]"'],
    [
      new Response('{"a":'.repeat(300) + "1" + "}".repeat(300)),
      "LLM_UNREADABLE",
      `expected an OpenAI chat completion, got ${JSON.stringify('{"a":'.repeat(300)).slice(0, 77)}…`,
    ],
    [
      Response.json({ choices: [{ message: { content: 7 } }] }),
      "LLM_UNREADABLE",
      `expected an OpenAI chat completion, got ${JSON.stringify('{"choices":[{"message":{"content":7}}]}')}`,
    ],
  ];
  await using endpoint = rawEndpoint((index) => answers[index]![0]);
  await using run = await llmRun();
  const url = `${endpoint.endpoint.base_url}/chat/completions`;
  for (const [seed, [, code, words]] of answers.entries()) {
    await assert.rejects(run.llm.ask(question({ endpoint: endpoint.endpoint, seed })), {
      code,
      message: `Cannot read the response of model "judge-1" at ${url}: ${words}`,
    });
  }
  assert.equal(endpoint.asked, answers.length);
});

Deno.test("ask() does not follow a redirect, which would take the key along", async () => {
  await using thief = rawEndpoint(() => Response.json({}));
  await using endpoint = rawEndpoint(() => Response.redirect(`${thief.endpoint.base_url}/chat/completions`, 307));
  await using run = await llmRun();
  await assert.rejects(run.llm.ask(question({ endpoint: endpoint.endpoint })), {
    code: "LLM_ENDPOINT_REFUSED",
    message: `Cannot ask model "judge-1" at ${endpoint.endpoint.base_url}/chat/completions: it answered 307: `,
    hint: "Set `base_url` to the address that it redirects to: keys are not sent to redirect targets.",
  });
  assert.equal(thief.asked, 0);
});

Deno.test("ask() learns once what an endpoint does not take, and never drops a temperature that was asked for", async () => {
  await using endpoint = openaiStandIn(({ body }) => {
    if ("max_tokens" in body) return failure(400, "Unsupported parameter: use 'max_completion_tokens' instead.");
    if (body.temperature === 0) {
      return failure(400, "Unsupported value: 'temperature' does not support 0 with this model");
    }
    return body.temperature === 0.7 ? failure(400, "temperature is deprecated for this model") : "ok";
  });
  await using run = await llmRun();
  const asked = question({ endpoint: endpoint.endpoint });
  await run.llm.ask(asked);
  await run.llm.ask({ ...asked, seed: 1 });
  const shapes = endpoint.requests.map(({ body }) => Object.keys(body).filter((key) => /max|temp/.test(key)).join());
  assert.deepEqual(shapes, [
    "max_tokens,temperature",
    "max_completion_tokens,temperature",
    "max_completion_tokens",
    "max_completion_tokens",
  ]);
  await assert.rejects(run.llm.ask({ ...asked, temperature: 0.7 }), { code: "LLM_ENDPOINT_REFUSED" });
});

Deno.test("ask() puts a schema into words where the endpoint refuses it, learned once", async () => {
  await using endpoint = openaiStandIn(({ body }) =>
    body.response_format ? failure(400, "This response_format type is unavailable now") : '{"score": 1}'
  );
  await using run = await llmRun();
  const asked = question({ endpoint: endpoint.endpoint, schema: SCORE });
  assert.deepEqual((await run.llm.ask(asked)).json, { score: 1 });
  assert.deepEqual((await run.llm.ask({ ...asked, seed: 1 })).json, { score: 1 });
  assert.deepEqual(endpoint.requests.map(({ body }) => "response_format" in body), [true, false, false]);
  assert.deepEqual(endpoint.requests[1]!.body.messages, [{
    role: "user",
    content: "How good is it?\n\nAnswer with one JSON value and nothing else: no prose, no code fence. " +
      `It must be valid against this JSON Schema:\n${JSON.stringify(SCORE)}`,
  }]);
});

Deno.test("ask() puts only that schema into words which the endpoint calls invalid", async () => {
  await using endpoint = openaiStandIn(({ body }) => {
    const { json_schema } = (body.response_format ?? {}) as { json_schema?: { schema: JsonObject } };
    return json_schema?.schema.$comment
      ? failure(400, "Invalid schema for response_format 'reply': $comment is not permitted")
      : '{"score": 1}';
  });
  await using run = await llmRun();
  const asked = question({ endpoint: endpoint.endpoint, schema: { ...SCORE, $comment: "odd" } });
  await run.llm.ask(asked);
  await run.llm.ask({ ...asked, seed: 1 });
  await run.llm.ask({ ...asked, schema: SCORE });
  assert.deepEqual(endpoint.requests.map(({ body }) => "response_format" in body), [true, false, false, true]);
});

Deno.test("ask() sends a schema as strict where it is, and to Anthropic in words where a tool cannot be forced", async () => {
  const loose: JsonObject = { type: "object", properties: { score: { type: "number" }, why: { type: "string" } } };
  await using endpoint = openaiStandIn(() => '{"score": 1}');
  await using run = await llmRun();
  for (const schema of [SCORE, loose, { type: "array", items: { type: "number" } }]) {
    await run.llm.ask(question({ endpoint: endpoint.endpoint, schema })).catch(() => {});
  }
  const formats = endpoint.requests.map(({ body }) => body.response_format as JsonObject | undefined);
  assert.deepEqual(formats.slice(0, 3), [
    { type: "json_schema", json_schema: { name: "reply", strict: true, schema: SCORE } },
    { type: "json_schema", json_schema: { name: "reply", strict: false, schema: loose } },
    undefined,
  ]);
  assert.deepEqual(endpoint.refused, []);
  Deno.env.set("HONE_LLM_TEST_THINKER", "sk-ant-thinker-1");
  await using claude = anthropicStandIn(() => 'Let me see: {"score": 1}', "sk-ant-thinker-1");
  const body = { thinking: { type: "enabled", budget_tokens: 2048 } };
  const thinker = { ...claude.endpoint, api_key_env: "HONE_LLM_TEST_THINKER", body };
  assert.deepEqual((await run.llm.ask(question({ endpoint: thinker, schema: SCORE }))).json, { score: 1 });
  assert.deepEqual(claude.refused, ["Thinking may not be enabled when tool_choice forces tool use."]);
  assert.equal("tools" in claude.requests[0]!.body, false);
});
