import assert from "node:assert/strict";
import type { JsonObject } from "../events.ts";
import { pause, TimeUp, within } from "../common/deadline.ts";
import { complete, type CompletionRequest, releaseRollout } from "./completions.ts";
import { EndpointError } from "./endpoint_http.ts";
import { type ScriptedEndpoint, scriptedEndpoint } from "../../tests/fixtures/scripted_endpoint.ts";

function ask(endpoint: ScriptedEndpoint, more: Partial<CompletionRequest> = {}) {
  return complete({
    policy: endpoint.policy,
    messages: [{ role: "user", content: "hi" }],
    tools: [],
    seed: 5,
    rollout_id: "r1",
    max_tokens: 9,
    signal: new AbortController().signal,
    ...more,
  });
}

Deno.test("complete() returns ids and logprobs as typed arrays and sends what the policy can take", async () => {
  await using endpoint = scriptedEndpoint(() => "ok", {
    api_key: "k",
    sampling: { temperature: 0.5, top_p: 1, max_tokens: 9 },
  });
  const { text, prompt_token_ids, output_token_ids, logprobs, finish_reason, usage } = await ask(endpoint);
  assert.deepEqual({ text, finish_reason, usage }, {
    text: "ok",
    finish_reason: "stop",
    usage: { prompt_tokens: 2, output_tokens: 2, cached_tokens: 0 },
  });
  assert.deepEqual(prompt_token_ids, Int32Array.of(104, 105));
  assert.deepEqual(output_token_ids, Int32Array.of(111, 107));
  assert.deepEqual(logprobs, Float32Array.of(-0.5, -0.5));
  assert.deepEqual(endpoint.requests, [{
    model: "scripted",
    messages: [{ role: "user", content: "hi" }],
    max_tokens: 9,
    temperature: 0.5,
    top_p: 1,
    seed: 5,
    logprobs: true,
    return_token_ids: true,
    rollout: "r1",
  }]);
  assert.deepEqual(endpoint.authorizations, ["Bearer k"]);
});

Deno.test("complete() asks a plain endpoint for nothing that it does not know", async () => {
  await using endpoint = scriptedEndpoint(() => "ok", { tokens: "none", rollout_handles: false });
  const completion = await ask(endpoint);
  assert.equal(completion.prompt_token_ids, undefined);
  assert.deepEqual(Object.keys(endpoint.requests[0]!), [
    "model",
    "messages",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
  ]);
  await releaseRollout(endpoint.policy, "r1");
  assert.deepEqual(endpoint.released, []);
});

Deno.test("complete() reads native calls and their thoughts", async () => {
  const tool_calls: JsonObject[] = [
    { id: "c1", type: "function", function: { name: "a", arguments: '{"x":1}' } },
    { type: "function", function: { name: "b", arguments: "[1]" } },
    { type: "function", function: { name: "c", arguments: "{oops" } },
  ];
  await using endpoint = scriptedEndpoint(() => ({
    message: { content: null, tool_calls, reasoning: "hm" },
    finish_reason: "tool_calls",
  }));
  const completion = await ask(endpoint);
  assert.deepEqual(completion.native_calls, [
    { id: "c1", name: "a", written: '{"x":1}', arguments: { x: 1 } },
    { id: "", name: "b", written: "[1]", invalid: "the arguments of b are not a JSON object" },
    { id: "", name: "c", written: "{oops", invalid: "the arguments of c are not a JSON object" },
  ]);
  assert.equal(completion.reasoning, "hm");
  assert.equal(completion.finish_reason, "tool_calls");
});

Deno.test("complete() tries again after 429 and 503, as long as it was asked to wait", async () => {
  const refusals = [{ status: 429, body: {}, headers: { "retry-after": "0.01" } }, { status: 503, body: "busy" }];
  await using endpoint = scriptedEndpoint((_, index) => refusals[index] ?? "third");
  assert.equal((await ask(endpoint)).text, "third");
  assert.equal(endpoint.requests.length, 3);
});

Deno.test("complete() gives up at once on what the endpoint refuses for good", async () => {
  await using endpoint = scriptedEndpoint(() => ({
    status: 401,
    body: { error: { message: "bad key", code: "invalid_api_key" } },
  }));
  await assert.rejects(ask(endpoint), (error: EndpointError) => {
    assert.equal(error.code, "ENDPOINT_REFUSED");
    assert.equal(
      error.message,
      `The model at ${endpoint.policy.base_url}/chat/completions answered 401: invalid_api_key: bad key`,
    );
    assert.equal(error.hint, "set the variable that agent.endpoint.api_key_env names");
    return true;
  });
  assert.equal(endpoint.requests.length, 1);
});

Deno.test("complete() tells a full context and a strange answer apart", async () => {
  const full = { status: 400, body: { error: { code: "context_length_exceeded", message: "2049 > 2048" } } };
  await using endpoint = scriptedEndpoint((_, index) => [full][index] ?? { status: 200, body: 7 });
  await assert.rejects(ask(endpoint), (error: EndpointError) => error.context_full);
  await assert.rejects(ask(endpoint, { policy: { ...endpoint.policy, tokens: "none" } }), {
    code: "ENDPOINT_UNREADABLE",
  });
});

Deno.test("complete() ends with the signal, also between tries and without an answer", async () => {
  await using endpoint = scriptedEndpoint(() => "hang");
  const controller = new AbortController();
  const hanging = ask(endpoint, { signal: controller.signal });
  setTimeout(() => controller.abort(new Error("stop")), 20);
  await assert.rejects(hanging, { message: "stop" });
  const nowhere = { ...endpoint.policy, base_url: "http://127.0.0.1:1/v1" };
  const signal = AbortSignal.abort(new Error("stopped before"));
  await assert.rejects(ask(endpoint, { policy: nowhere, signal }), { message: "stopped before" });
});

Deno.test("within() aborts late work with TimeUp and leaves no timer behind", async () => {
  const signal = new AbortController().signal;
  await assert.rejects(within(0.01, signal, (inner) => pause(60_000, inner)), TimeUp);
  assert.equal(await within(60, signal, () => Promise.resolve(7)), 7);
});
