import assert from "node:assert/strict";
import { type ScriptedEndpoint, scriptedEndpoint, type ScriptedReply } from "../../tests/fixtures/scripted_endpoint.ts";
import type { Agent, CallResult, Environment, Outcome, RolloutRecord, Scenario, ToolSpec } from "@hone/hone";
import { conformance, fakeContext } from "@hone/hone/testing";
import plugin from "./chat.ts";

conformance(plugin);

const tool: ToolSpec = {
  server: "files",
  name: "read",
  model_name: "read",
  description: "Reads a file.",
  input_schema: { type: "object", properties: { path: { type: "string" } }, required: ["path"] },
  annotations: {},
  tokens: 10,
};
const agent: Agent = {
  system_prompt: "Be brief.",
  examples: [],
  max_turns: 4,
  max_tokens: 32,
  temperature: 1,
  tool_format: "json",
  complete_task: false,
  max_result_chars: 20,
  max_invalid_calls: 2,
  max_repeated_calls: 3,
  turn_timeout_secs: 5,
  tool_timeout_secs: 5,
  rollout_timeout_secs: 60,
};
const scenario: Scenario = { id: "s1", task: 'Read "a".', split: "train", tags: [], checks: [] };
const READ = '{"name":"read","arguments":{"path":"a"}}';

function ok(text: string): CallResult {
  return { outcome: "ok", text, result: { content: [{ type: "text", text }] }, seconds: 0 };
}

function world(call: Environment["call"] = () => Promise.resolve(ok("maple"))): Environment {
  return {
    id: "e",
    workdir: null,
    tools: [tool, { ...tool, name: "other", model_name: "other" }],
    call,
    observe: () => Promise.resolve(ok("")),
  };
}

async function play(
  endpoint: ScriptedEndpoint,
  options: { agent?: Partial<Agent>; scenario?: Partial<Scenario>; environment?: Environment; signal?: AbortSignal } =
    {},
): Promise<{ records: RolloutRecord[]; outcome: Outcome }> {
  const role = await plugin.create(fakeContext({}));
  const generator = role.run({
    rollout_id: "r1",
    scenario: { ...scenario, ...options.scenario },
    policy: endpoint.policy,
    environment: options.environment ?? world(),
    agent: { ...agent, ...options.agent },
    seed: 40,
    signal: options.signal ?? new AbortController().signal,
  });
  const records: RolloutRecord[] = [];
  for (;;) {
    const { done, value } = await generator.next();
    if (done) return { records, outcome: value };
    records.push(value);
  }
}

/** Plays against a script of replies. */
async function against(replies: ScriptedReply[], options: Parameters<typeof play>[1] = {}) {
  await using endpoint = scriptedEndpoint((_, index) => replies[index] ?? "Done.");
  const played = await play(endpoint, options);
  return { ...played, requests: endpoint.requests, released: endpoint.released };
}

Deno.test("run() calls tools, sends raw text back and ends with the answer", async () => {
  const raw = ` ${READ} `;
  const { records, outcome, requests, released } = await against([raw, " Done.\n"]);
  assert.deepEqual(outcome, { end: "answered", answer: "Done." });
  assert.deepEqual(records.map(({ type }) => type), ["turn", "tool_call", "turn"]);
  const [first, call, last] = records as [
    RolloutRecord & { type: "turn" },
    RolloutRecord & { type: "tool_call" },
    RolloutRecord & { type: "turn" },
  ];
  assert.deepEqual(first.tool_calls, [{ id: "call00000", name: "read", arguments: { path: "a" } }]);
  assert.deepEqual(first.input.map(({ role }) => role), ["system", "user"]);
  assert.match(
    first.input[0]!.content,
    /^Be brief\.\n\nTools:\nread\(path\): Reads a file\nother\(path\): Reads a file\nTo use/,
  );
  assert.equal(first.output_token_ids!.length, raw.length);
  assert.deepEqual([call.server, call.tool, call.outcome, call.text, call.truncated], [
    "files",
    "read",
    "ok",
    "maple",
    false,
  ]);
  assert.deepEqual(last.input, [{ role: "user", content: "Result:\nmaple" }]);
  assert.deepEqual(requests[1]!.messages.slice(2), [{ role: "assistant", content: raw }, {
    role: "user",
    content: "Result:\nmaple",
  }]);
  assert.deepEqual(requests.map(({ seed }) => seed), [40, 41]);
  assert.deepEqual(released, ["r1"]);
});

Deno.test("run() keeps every request a prefix of the next one", async () => {
  const { requests } = await against([READ, "{bad", READ, "Done."]);
  for (const [index, { messages }] of requests.slice(1).entries()) {
    assert.deepEqual(messages.slice(0, requests[index]!.messages.length), requests[index]!.messages);
  }
});

Deno.test("run() turns an unreadable call into a correction, then into the end", async () => {
  const { records, outcome, requests } = await against(["{bad", READ, "{bad", "{worse"], { agent: { max_turns: 9 } });
  const invalid = records.map((record) => record.type === "turn" ? record.invalid_call ?? "none" : "called");
  const bad = "the call is not JSON";
  assert.deepEqual(invalid, [bad, "none", "called", bad, bad]);
  assert.deepEqual(requests[1]!.messages.at(-1), { role: "user", content: "Error: the call is not JSON" });
  assert.deepEqual(outcome, {
    end: "invalid_calls",
    answer: null,
    cause: "2 invalid calls in a row: the call is not JSON",
  });
});

Deno.test("run() tells the model which tools there are when it names another", async () => {
  const { records, outcome } = await against(['{"name":"rm","arguments":{}}', '{"name":"other","arguments":{}}'], {
    scenario: { tools: ["read"] },
  });
  const calls = records.filter((record) => record.type === "tool_call");
  assert.deepEqual(calls.map(({ outcome }) => outcome), ["unknown_tool", "unknown_tool"]);
  assert.match(calls[0]!.text, /^no tool is called "r\n\[cut/);
  assert.equal(outcome.end, "invalid_calls");
});

Deno.test("run() ends a rollout that repeats itself", async () => {
  const { outcome } = await against([READ, READ, READ], { agent: { max_turns: 9 } });
  assert.deepEqual(outcome, { end: "repeated_calls", answer: null, cause: "the same call 3 times in a row" });
});

Deno.test("run() ends at max_turns and where a turn is cut off", async () => {
  const other = READ.replace('"a"', '"b"');
  assert.equal((await against([READ, other], { agent: { max_turns: 2 } })).outcome.end, "max_turns");
  const cut = await against([{ text: READ, finish_reason: "length" }]);
  assert.deepEqual(cut.outcome, { end: "length", answer: null, cause: "the turn was cut off at max_tokens" });
  assert.equal(cut.records.length, 1);
});

Deno.test("run() makes parallel calls in order and answers them together", async () => {
  const { requests, records } = await against([`${READ}\n${READ.replace('"a"', '"b"')}`]);
  assert.equal(records.filter(({ type }) => type === "tool_call").length, 2);
  assert.equal(requests[1]!.messages.at(-1)!.content, "Result:\nmaple\nResult:\nmaple");
});

Deno.test("run() clips long results for the model and keeps them whole in the record", async () => {
  const long = "x".repeat(50);
  const { records, requests } = await against([READ], { environment: world(() => Promise.resolve(ok(long))) });
  const call = records[1] as RolloutRecord & { type: "tool_call" };
  assert.equal(call.truncated, true);
  assert.deepEqual(call.result, { content: [{ type: "text", text: long }] });
  assert.equal(
    requests[1]!.messages.at(-1)!.content,
    `Result:\n${"x".repeat(20)}\n[cut: 30 of 50 characters left out]`,
  );
});

Deno.test("run() ends through complete_task with its answer", async () => {
  const { outcome, requests } = await against([READ, '{"name":"complete_task","arguments":{"answer":"maple"}}'], {
    agent: { complete_task: true },
  });
  assert.deepEqual(outcome, { end: "completed", answer: "maple" });
  assert.match(requests[0]!.messages[0]!.content, /complete_task\(answer\): Ends the task and gives its answer/);
});

Deno.test("run() speaks native where the policy does", async () => {
  const tool_calls = [{ id: "c9", type: "function", function: { name: "read", arguments: '{"path": "a"}' } }];
  const replies: ScriptedReply[] = [{ message: { content: null, tool_calls }, finish_reason: "tool_calls" }, "maple"];
  await using endpoint = scriptedEndpoint((_, index) => replies[index]!, {
    tool_format: "native",
    tokens: "none",
    rollout_handles: false,
  });
  const { outcome } = await play(endpoint);
  assert.deepEqual(outcome, { end: "answered", answer: "maple" });
  const [first, second] = endpoint.requests;
  assert.equal(first!.messages[0]!.content, "Be brief.");
  assert.equal(first!.tools!.length, 2);
  assert.deepEqual(second!.messages.slice(2), [
    {
      role: "assistant",
      content: "",
      tool_calls: [{ id: "c9", type: "function", function: { name: "read", arguments: '{"path":"a"}' } }],
    },
    { role: "tool", content: "maple", tool_call_id: "c9" },
  ]);
});

Deno.test("run() reads calls from text where a native endpoint leaves them there", async () => {
  await using endpoint = scriptedEndpoint(
    (_, index) => index === 0 ? '<tool_call>\n{"name": "read", "arguments": {"path": "a"}}\n</tool_call>' : "maple",
    { tool_format: "native" },
  );
  const { records } = await play(endpoint);
  assert.equal(records.filter(({ type }) => type === "tool_call").length, 1);
  assert.deepEqual(endpoint.requests[1]!.messages.at(-1), {
    role: "tool",
    content: "maple",
    tool_call_id: "call00000",
  });
});

/** Long results, each to another call; one character is one token. */
const LONG: Partial<Agent> = { max_turns: 9, max_result_chars: 1000, max_repeated_calls: 9 };
const long = () => world((_, { path }) => Promise.resolve(ok(`${path}`.repeat(300))));
const reads = (...paths: string[]) => paths.map((path) => READ.replace('"a"', `"${path}"`));
const sent = ({ messages }: { messages: { content: string }[] }) => messages.map(({ content }) => content).join("\n");
const turns = (records: RolloutRecord[]) => records.filter((record) => record.type === "turn");

Deno.test("run() shortens old results where the policy's context is too small, and the turns say so", async () => {
  await using endpoint = scriptedEndpoint((_, index) => reads("b", "c", "d", "e")[index] ?? "Done.", {
    context_tokens: 1200,
    tokens: "exact",
  });
  const { records, outcome } = await play(endpoint, { agent: LONG, environment: long() });
  assert.deepEqual(outcome, { end: "answered", answer: "Done." });
  const asked = turns(records);
  assert.deepEqual(asked.map(({ shortened = [] }) => shortened.map(({ message }) => message)), [
    [],
    [],
    [],
    [3, 5],
    [5, 7],
  ]);
  assert.deepEqual(asked[3]!.shortened![0], { message: 3, from: 308, to: 37 });
  for (const [index, request] of endpoint.requests.entries()) {
    assert.ok(sent(request).length + 32 <= 1200, `request ${index} fits`);
    assert.equal(
      String.fromCodePoint(...asked[index]!.prompt_token_ids!),
      sent(request),
      "the recorded prompt is the one that was seen",
    );
  }
  const last = endpoint.requests[4]!.messages;
  assert.equal(last[3]!.content, "Result:\n[… 300 characters left out …]");
  assert.equal(last.at(-1)!.content, `Result:\n${"e".repeat(300)}`);
  assert.equal(asked[4]!.input.at(-1)!.content, last.at(-1)!.content);
});

Deno.test("run() shortens to agent.max_history_chars where the context is unknown, and sends all where it fits", async () => {
  const options = { environment: long() };
  const replies = reads("b", "c", "d");
  const free = await against(replies, { ...options, agent: LONG });
  assert.deepEqual(turns(free.records).filter(({ shortened }) => shortened), []);
  const roomy = await against(replies, { ...options, agent: { ...LONG, max_history_chars: 100_000 } });
  assert.deepEqual(roomy.requests, free.requests);
  const { requests, outcome } = await against(replies, { ...options, agent: { ...LONG, max_history_chars: 900 } });
  assert.equal(outcome.end, "answered");
  assert.ok(requests.every((request) => sent(request).length < 900));
});

Deno.test("run() shortens and asks again where the endpoint says that its context is full", async () => {
  const message = "This model's maximum context length is 1000 tokens. However, you requested more";
  await using endpoint = scriptedEndpoint(({ messages }) => {
    if (sent({ messages }).length > 1000) return { status: 400, body: { error: { message, type: "BadRequestError" } } };
    return reads("b", "c", "d", "e")[messages.filter(({ role }) => role === "assistant").length] ?? "Done.";
  });
  const { records, outcome } = await play(endpoint, { agent: LONG, environment: long() });
  assert.deepEqual(outcome, { end: "answered", answer: "Done." });
  assert.equal(turns(records).length, 5);
  assert.ok(turns(records).some(({ shortened }) => shortened));
  assert.equal(
    endpoint.requests.filter((request) => sent(request).length > 1000).length,
    1,
    "it learns from one refusal",
  );
});

Deno.test("run() ends as context_full where shortening does not help", async () => {
  const full = { status: 400, body: { error: { code: "context_length_exceeded", message: "2049 > 2048" } } };
  await using endpoint = scriptedEndpoint((_, index) => reads("b", "c", "d")[index] ?? full);
  const { outcome, records } = await play(endpoint, { agent: LONG, environment: long() });
  assert.deepEqual([outcome.end, turns(records).length], ["context_full", 3]);
  const tries = endpoint.requests.slice(3).map((request) => sent(request).length);
  assert.ok(tries.length > 1 && tries.length <= 4, String(tries));
  assert.deepEqual(tries, tries.toSorted((a, b) => b - a), "each is shorter");
});

Deno.test("run() ends in a typed outcome when the endpoint, the server or the clock fails", async () => {
  const full = { status: 400, body: { error: { code: "context_length_exceeded", message: "too long" } } };
  assert.equal((await against([full])).outcome.end, "context_full");
  assert.equal((await against([{ status: 404, body: {} }])).outcome.end, "endpoint_failed");
  const slow = await against(["hang"], { agent: { turn_timeout_secs: 0.02 } });
  assert.deepEqual(slow.outcome, { end: "timeout", answer: null, cause: "turn 1: no answer within 0.02 s" });
  const died: CallResult = { outcome: "server_died", text: "exit 1", result: null, seconds: 0 };
  const server = await against([READ], { environment: world(() => Promise.resolve(died)) });
  assert.deepEqual(server.outcome, { end: "server_failed", answer: null, cause: "exit 1" });
});

Deno.test("run() leaves a tool its time, however long, and shows the model that it took too much", async () => {
  const late: CallResult = { outcome: "timeout", text: "no answer within 1 s", result: null, seconds: 1 };
  const slow = world(async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return late;
  });
  const { records, requests } = await against([READ], { environment: slow, agent: { tool_timeout_secs: 0.02 } });
  assert.equal((records[1] as RolloutRecord & { type: "tool_call" }).outcome, "timeout");
  assert.equal(requests[1]!.messages.at(-1)!.content, "Error: no answer within 1 s");
});

Deno.test("run() throws the signal's reason when the run ends", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("the run ended")), 20);
  await assert.rejects(against(["hang"], { signal: controller.signal }), { message: "the run ended" });
});

Deno.test("demonstrate() is the conversation that run() has", async () => {
  const solution = { calls: [{ tool: "read", arguments: { path: "a" } }], answer: "Done." };
  const { requests } = await against([READ, "Done."]);
  await using endpoint = scriptedEndpoint(() => "");
  const role = await plugin.create(fakeContext({}));
  const made = role.demonstrate!({
    scenario: { ...scenario, solution },
    agent,
    policy: endpoint.policy,
    tools: world().tools,
    results: [ok("maple")],
  });
  assert.deepEqual(made, {
    id: "demo-s1",
    scenario_id: "s1",
    messages: [...requests[1]!.messages, { role: "assistant", content: "Done." }],
  });
});
