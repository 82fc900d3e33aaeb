/** Stand-ins that answer over HTTP as inference servers describe it. */
import assert from "node:assert/strict";
import type { Json, JsonObject } from "../events.ts";
import { complete } from "./completions.ts";
import { EndpointError } from "./endpoint_http.ts";
import { scriptedEndpoint, type ScriptedReply } from "../../tests/fixtures/scripted_endpoint.ts";
import type { Policy } from "../plugin.ts";

const PLAIN: Partial<Policy> = { tokens: "none", rollout_handles: false, tool_format: "native" };

/** Asks a server that gives these replies in turn. */
async function ask(replies: ScriptedReply[], policy: Partial<Policy> = PLAIN) {
  await using endpoint = scriptedEndpoint((_, index) => replies[index] ?? "more than was scripted", policy);
  const messages = [{ role: "user" as const, content: "hi" }];
  const signal = new AbortController().signal;
  const request = { policy: endpoint.policy, messages, tools: [], seed: 1, rollout_id: "r", max_tokens: 9, signal };
  const result = await complete(request).catch((error: unknown) => error);
  return { result, bodies: endpoint.requests as unknown as JsonObject[], url: endpoint.policy.base_url };
}

const body = (answer: Json): ScriptedReply => ({ status: 200, body: answer });
const choice = (message: JsonObject, finish_reason = "stop") => body({ choices: [{ message, finish_reason }] });
const openai = (param: string, message: string): ScriptedReply => ({
  status: 400,
  body: { error: { message, type: "invalid_request_error", param, code: "unsupported_parameter" } },
});

Deno.test("complete() learns which fields a hosted model refuses, and says them otherwise", async () => {
  const { result, bodies } = await ask([
    openai("max_tokens", "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."),
    openai("seed", "Unsupported parameter: 'seed' is not supported with this model."),
    "ok",
  ]);
  assert.equal((result as { text: string }).text, "ok");
  assert.deepEqual(Object.keys(bodies[0]!).includes("max_tokens"), true);
  assert.deepEqual([bodies[2]!.max_tokens, bodies[2]!.max_completion_tokens, bodies[2]!.seed], [
    undefined,
    9,
    undefined,
  ]);
});

Deno.test("complete() does not leave out a temperature that matters", async () => {
  const refusal = openai("temperature", "Unsupported value: 'temperature' does not support 0.5 with this model.");
  const { result } = await ask([refusal], { ...PLAIN, sampling: { temperature: 0.5, top_p: 1, max_tokens: 9 } });
  assert.ok(result instanceof EndpointError && result.status === 400);
});

Deno.test("complete() sends tool_choice and the like only where the pipeline says so", async () => {
  const extra = { parallel_tool_calls: false, tool_choice: "auto" };
  const plain = await ask(["ok"]);
  assert.equal("tool_choice" in plain.bodies[0]! || "parallel_tool_calls" in plain.bodies[0]!, false);
  const { bodies } = await ask(["ok"], { ...PLAIN, body: extra });
  assert.deepEqual([bodies[0]!.tool_choice, bodies[0]!.parallel_tool_calls], ["auto", false]);
});

Deno.test("complete() keeps thoughts apart however the server sends them", async () => {
  const shapes: JsonObject[] = [
    { content: "Yes.", reasoning: "hm" },
    { content: "Yes.", reasoning_content: "hm" },
    { content: [{ type: "thinking", thinking: [{ type: "text", text: "hm" }] }, { type: "text", text: "Yes." }] },
  ];
  for (const shape of shapes) {
    const { result } = await ask([choice(shape)]);
    const { text, reasoning } = result as { text: string; reasoning?: string };
    assert.deepEqual([text, reasoning], ["Yes.", "hm"], JSON.stringify(shape));
  }
});

Deno.test("complete() tries again after an error in a 200, an empty answer and a 429 with a date", async () => {
  const soon = new Date(Date.now() - 1000).toUTCString();
  const { result, bodies } = await ask([
    body({ error: { code: 429, message: "Rate limit exceeded" } }),
    body({ choices: [] }),
    { status: 429, body: {}, headers: { "retry-after": soon } },
    "ok",
  ]);
  assert.equal((result as { text: string }).text, "ok");
  assert.equal(bodies.length, 4);
});

Deno.test("complete() does not wait for a quota that is used up", async () => {
  const used: ScriptedReply = {
    status: 429,
    body: { error: { code: "insufficient_quota", message: "Check billing" } },
  };
  assert.equal((await ask([used])).bodies.length, 1);
});

Deno.test("complete() knows a full context by every server's own words", async () => {
  const refusals: [number, string][] = [
    [400, "This model's maximum context length is 2048 tokens. However, you requested 2100 tokens"],
    [400, "the request exceeds the available context size, try increasing it"],
    [422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"],
    [400, "prompt is too long: 210000 tokens > 200000 maximum"],
    [400, "The input token count (1200000) exceeds the maximum number of tokens allowed"],
  ];
  for (const [status, message] of refusals) {
    const { result } = await ask([{ status, body: { error: { message, type: "invalid_request_error" } } }]);
    assert.ok(result instanceof EndpointError && result.context_full, message);
  }
});

Deno.test("complete() names what an endpoint for training leaves out", async () => {
  const { result, url } = await ask([choice({ content: "ok" })], {});
  assert.ok(result instanceof EndpointError);
  assert.deepEqual([result.code, result.message, result.hint], [
    "ENDPOINT_WITHOUT_TOKENS",
    `The model at ${url} answered without \`prompt_token_ids\` and \`choices[0].token_ids\` and one of ` +
    "`choices[0].logprobs` for each token: training needs the tokens that it sampled",
    "vLLM 0.10.2 and newer returns them for requests with `return_token_ids`; start it with " +
    "`--logprobs-mode processed_logprobs` for correct log-probabilities",
  ]);
});
