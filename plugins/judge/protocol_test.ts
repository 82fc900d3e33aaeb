import assert from "node:assert/strict";
import type { Judgement, ToolCallRecord, ToolSpec, Trajectory } from "@hone/hone";
import { conformance, fakeContext, fakeJudgeArgs, fakeToolCall, fakeTrajectory, fakeTurn } from "@hone/hone/testing";
import plugin from "./protocol.ts";

conformance(plugin);

const PATH = { type: "object", properties: { path: { type: "string" } }, required: ["path"] };

function tool(name: string, given: Partial<ToolSpec> = {}): ToolSpec {
  const named = { server: "files", name, model_name: name, description: "", tokens: 1 };
  return { ...named, input_schema: PATH, annotations: {}, ...given };
}

const TOOLS = [
  tool("read", { annotations: { read_only: true } }),
  tool("write", { annotations: { read_only: false } }),
  tool("plain"),
  tool("count", { input_schema: {}, output_schema: { type: "object", required: ["n"] } }),
];

async function judge(tool_calls: ToolCallRecord[], given: Partial<Trajectory> = {}, settings = {}): Promise<Judgement> {
  const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
  const group = [fakeTrajectory({ tool_calls, ...given })];
  return (await role.judge(fakeJudgeArgs({ group, tools: TOOLS })))[0]!;
}

function parts(verdict: Judgement): Record<string, number> {
  assert.ok("score" in verdict, JSON.stringify(verdict));
  return verdict.parts!;
}

const A = { path: "a" };

Deno.test("judge() counts arguments that do not fit, unknown tools and replies that are no call", async () => {
  const calls = [
    fakeToolCall("read", A),
    fakeToolCall("read", { path: 7 }, "invalid_arguments"),
    fakeToolCall("reed", A, "unknown_tool"),
  ];
  const verdict = await judge(calls, { turns: [fakeTurn({ invalid_call: "no JSON" })] });
  assert.deepEqual(verdict, {
    score: (1 / 3 + 3 / 4 + 1 + 1) / 4,
    reason: "calls: 1 unreadable, 1 of unknown tools (reed), 1 with invalid arguments (read)",
    parts: {
      valid: 1 / 3,
      hallucinated: 1 / 4,
      redundant: 0,
      errors: 0,
      recovered: 1,
      results: 1,
      calls: 4,
      tool_errors: 0,
      protocol_errors: 0,
    },
  });
});

Deno.test("judge() finds a repeated call redundant unless something may have changed in between", async () => {
  const redundant = async (...calls: ToolCallRecord[]) => parts(await judge(calls)).redundant! * calls.length;
  const [read, write, plain] = [fakeToolCall("read", A), fakeToolCall("write", A), fakeToolCall("plain", A)];
  assert.equal(await redundant(read, read, read), 2);
  assert.equal(await redundant(read, write, read), 0);
  assert.equal(await redundant(read, plain, read), 0);
  assert.equal(await redundant(read, fakeToolCall("write", A, "timeout"), read), 0);
  assert.equal(await redundant(read, fakeToolCall("write", A, "tool_error"), read), 1);
  assert.equal(await redundant(plain, plain), 1);
  // A tool that says that it writes may be called twice for good reason.
  assert.equal(await redundant(write, write), 0);
  assert.equal(await redundant(read, { ...read, text: "changed" }), 0);
  assert.equal(await redundant(read, fakeToolCall("read", { path: "b" })), 0);
});

Deno.test("judge() tells a tool's error from the protocol's, and recovers by the same tool or by finishing", async () => {
  const errors = [fakeToolCall("read", A, "tool_error"), fakeToolCall("plain", A, "protocol_error")];
  const lost = await judge(errors);
  assert.deepEqual(lost, {
    score: (1 + 1 + 1 + 0 + 0) / 5,
    reason: "calls: 2 failed without recovery (read)",
    parts: {
      valid: 1,
      hallucinated: 0,
      redundant: 0,
      errors: 1,
      recovered: 0,
      results: 1,
      calls: 2,
      tool_errors: 1,
      protocol_errors: 1,
    },
  });
  assert.equal(parts(await judge([...errors, fakeToolCall("read", A)])).recovered, 1);
  const outcome = { end: "max_turns" as const, answer: null };
  assert.equal(parts(await judge([...errors, fakeToolCall("read", A)], { outcome })).recovered, 0.5);
});

Deno.test("judge() compares structured results with the output schema where they are whole", async () => {
  const count = (result: ToolCallRecord["result"]) => ({ ...fakeToolCall("count"), result });
  const calls = [
    count({ structuredContent: { n: 1 } }),
    count({ structuredContent: {} }),
    count({ cut: { bytes: 9 } }),
  ];
  const verdict = await judge(calls, {}, { weights: { results: 2, redundant: 0 } });
  assert.equal(parts(verdict).results, 0.5);
  assert.equal("score" in verdict && verdict.score, (1 + 1 + 1 + 2 * 0.5) / 5);
});

Deno.test("judge() abstains where no call says anything about the agent", async () => {
  assert.deepEqual(await judge([]), { abstain: "the agent called no tool" });
  assert.deepEqual(await judge([fakeToolCall("read", A, "server_died")]), { abstain: "the agent called no tool" });
});
