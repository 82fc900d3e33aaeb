import assert from "node:assert/strict";
import type { HoneError } from "../diagnostics/mod.ts";
import type { JsonObject } from "../events.ts";
import { anthropicStandIn, openaiStandIn } from "../../tests/fixtures/llm_endpoints.ts";
import { llmRun, question } from "../../tests/fixtures/llm_run.ts";

const SCORE: JsonObject = {
  type: "object",
  properties: { score: { type: "number" } },
  required: ["score"],
  additionalProperties: false,
};
const openai = (message: JsonObject, finish_reason = "stop"): JsonObject => ({
  model: "judge-1",
  choices: [{ index: 0, message: { role: "assistant", ...message }, finish_reason }],
  usage: { prompt_tokens: 1, completion_tokens: 1 },
});
const anthropic = (content: JsonObject[], stop_reason: string): JsonObject => ({
  type: "message",
  role: "assistant",
  model: "claude",
  content,
  stop_reason,
  usage: { input_tokens: 1, output_tokens: 1 },
});

Deno.test("ask() asks once more for JSON that does not fit, and tells the model what was wrong", async () => {
  await using endpoint = openaiStandIn((_, index) => index === 0 ? '{"score": "high"}' : '{"score": 0.9}');
  await using run = await llmRun();
  const reply = await run.llm.ask(question({ endpoint: endpoint.endpoint, schema: SCORE }));
  assert.deepEqual([reply.json, reply.prompt_tokens, reply.output_tokens], [{ score: 0.9 }, 20, 10]);
  assert.deepEqual(endpoint.requests[1]!.body.messages, [
    { role: "user", content: "How good is it?" },
    { role: "assistant", content: '{"score": "high"}' },
    {
      role: "user",
      content: 'That reply cannot be used: "score" must be number. Answer again.\n\n' +
        "Answer with one JSON value and nothing else: no prose, no code fence. " +
        `It must be valid against this JSON Schema:\n${JSON.stringify(SCORE)}`,
    },
  ]);
  assert.ok("response_format" in endpoint.requests[1]!.body);
  assert.deepEqual(run.calls.map(({ outcome, tries }) => [outcome, tries]), [["ok", 2]]);
});

Deno.test("ask() fails after one repair, with what was wrong and what was said", async () => {
  await using endpoint = openaiStandIn((_, index) => index === 0 ? "Very good." : "Really\u001b[31m very good.");
  await using run = await llmRun();
  const url = `${endpoint.endpoint.base_url}/chat/completions`;
  await assert.rejects(run.llm.ask(question({ endpoint: endpoint.endpoint, schema: SCORE })), {
    code: "LLM_NOT_AS_ASKED",
    message: `Cannot use the reply of model "judge-1" at ${url}: not JSON that matches the schema (` +
      'there is no JSON in it); it replied "Really\\u001b[31m very good."',
    hint: "Use a model that follows a schema, or simplify the schema.",
  });
  // It took the schema and paid no heed to it: from now on it is told in words.
  await run.llm.ask(question({ endpoint: endpoint.endpoint, schema: SCORE, seed: 1 })).catch(() => {});
  assert.deepEqual(endpoint.requests.map(({ body }) => "response_format" in body), [true, false, false, false]);
});

Deno.test("ask() tells an empty reply, a refusal and a cut-off apart, under both APIs", async () => {
  Deno.env.set("HONE_LLM_TEST_ENDS", "sk-ant-of-the-ends");
  const said: [JsonObject, string, string][] = [
    [openai({ content: "" }), "LLM_EMPTY", "it is empty"],
    [openai({ content: null }), "LLM_EMPTY", "it is empty"],
    [openai({ content: null, refusal: "I can't\nhelp." }), "LLM_REFUSED", "the model refused (I can't help.)"],
    [openai({ content: "" }, "content_filter"), "LLM_REFUSED", "the model refused (content_filter)"],
    [
      openai({ content: '{"sco' }, "length"),
      "LLM_CUT_OFF",
      "it was cut off at `max_tokens` (64) or at the end of its context",
    ],
    [
      openai({ content: "" }, "length"),
      "LLM_CUT_OFF",
      "it was cut off at `max_tokens` (64) or at the end of its context",
    ],
  ];
  const claude: [JsonObject, string, string][] = [
    [anthropic([], "end_turn"), "LLM_EMPTY", "it is empty"],
    [anthropic([], "refusal"), "LLM_REFUSED", "the model refused (stop_reason: refusal)"],
    [anthropic([{ type: "text", text: "No." }], "refusal"), "LLM_REFUSED", "the model refused (No.)"],
    [anthropic([{ type: "text", text: "So" }], "max_tokens"), "LLM_CUT_OFF", said[4]![2]],
    [anthropic([{ type: "text", text: "So" }], "model_context_window_exceeded"), "LLM_CUT_OFF", said[4]![2]],
    [
      anthropic([{ type: "tool_use", id: "t", name: "reply", input: { score: 1 } }], "max_tokens"),
      "LLM_CUT_OFF",
      said[4]![2],
    ],
  ];
  await using one = openaiStandIn((_, index) => said[index >> 1]![0]);
  await using two = anthropicStandIn((_, index) => claude[index >> 1]![0], "sk-ant-of-the-ends");
  await using run = await llmRun();
  const fails = async (endpoint: typeof one.endpoint, path: string, [, code, words]: typeof said[0]) => {
    for (const schema of [SCORE, undefined]) {
      await assert.rejects(run.llm.ask(question({ endpoint, ...(schema && { schema }) })), (error: HoneError) => {
        assert.equal(error.code, code);
        assert.equal(
          error.message,
          `Cannot use the reply of model "judge-1" at ${endpoint.base_url}${path}: ${words}`,
        );
        return true;
      });
    }
  };
  for (const end of said) await fails(one.endpoint, "/chat/completions", end);
  const endpoint = { ...two.endpoint, api_key_env: "HONE_LLM_TEST_ENDS" };
  for (const end of claude) await fails(endpoint, "/v1/messages", end);
  assert.deepEqual([one.requests.length, two.requests.length], [12, 12]);
});

Deno.test("ask() takes JSON that is whole although the reply was cut off after it, and leaves thoughts out", async () => {
  const said = [
    openai({ content: '<think>{"score": 0}? No.</think>{"score": 1} And so on and so' }, "length"),
    openai({
      content: [{ type: "thinking", thinking: [{ type: "text", text: "hm" }] }, { type: "text", text: "Yes." }],
    }),
    openai({ content: "<think>hm</think>\n\nYes.", reasoning_content: "more" }),
  ];
  await using endpoint = openaiStandIn((_, index) => said[index]!);
  await using run = await llmRun();
  assert.deepEqual((await run.llm.ask(question({ endpoint: endpoint.endpoint, schema: SCORE }))).json, { score: 1 });
  for (const seed of [1, 2]) {
    assert.equal((await run.llm.ask(question({ endpoint: endpoint.endpoint, seed }))).text, "Yes.");
  }
});

Deno.test("ask() brings a conversation with tool calls to both APIs as they want it", async () => {
  Deno.env.set("HONE_LLM_TEST_TOOLS", "sk-ant-of-the-tools");
  const call = (id: string, given: string) => ({
    id,
    type: "function" as const,
    function: { name: "read_file", arguments: given },
  });
  const messages = [
    { role: "system" as const, content: "One." },
    { role: "user" as const, content: "Go on." },
    {
      role: "assistant" as const,
      content: "",
      reasoning: "hm",
      tool_calls: [call("c1", '{"path": "a"}'), call("c2", "oops")],
    },
    { role: "tool" as const, content: "A", tool_call_id: "c1" },
    { role: "tool" as const, content: "", tool_call_id: "c2" },
    { role: "assistant" as const, content: "Done.", tool_calls: [] },
    { role: "system" as const, content: "Two." },
    { role: "user" as const, content: "How good is it?" },
  ];
  await using one = openaiStandIn(() => "Good.");
  await using two = anthropicStandIn(() => "Good.", "sk-ant-of-the-tools");
  await using run = await llmRun();
  await run.llm.ask(question({ endpoint: one.endpoint, messages }));
  // Its address may be given with the `/v1` that the other API wants.
  const endpoint = { ...two.endpoint, base_url: `${two.endpoint.base_url}/v1/`, api_key_env: "HONE_LLM_TEST_TOOLS" };
  await run.llm.ask(question({ endpoint, messages }));
  assert.deepEqual([...one.refused, ...two.refused], []);
  assert.deepEqual((one.requests[0]!.body.messages as JsonObject[])[2], {
    role: "assistant",
    content: "",
    tool_calls: [call("c1", '{"path": "a"}'), call("c2", "oops")],
  });
  const { system, messages: turns, tools, tool_choice } = two.requests[0]!.body;
  assert.equal(system, "One.\n\nTwo.");
  assert.deepEqual(turns, [
    { role: "user", content: "Go on." },
    {
      role: "assistant",
      content: [
        { type: "tool_use", id: "c1", name: "read_file", input: { path: "a" } },
        { type: "tool_use", id: "c2", name: "read_file", input: {} },
      ],
    },
    {
      role: "user",
      content: [
        { type: "tool_result", tool_use_id: "c1", content: "A" },
        { type: "tool_result", tool_use_id: "c2", content: "" },
      ],
    },
    { role: "assistant", content: "Done." },
    { role: "user", content: "How good is it?" },
  ]);
  assert.deepEqual([tools, tool_choice], [[{ name: "read_file", input_schema: { type: "object" } }], { type: "none" }]);
});
