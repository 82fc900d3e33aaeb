import assert from "node:assert/strict";
import type { Judgement, Trajectory } from "@hone/hone";
import { conformance, fakeContext, fakeJudgeArgs, fakeToolCall, fakeTrajectory, fakeTurn } from "@hone/hone/testing";
import plugin from "./calls.ts";

conformance(plugin);

async function judge(expected: object | undefined, given: Partial<Trajectory>, settings = {}): Promise<Judgement> {
  const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
  return (await role.judge(fakeJudgeArgs({ group: [fakeTrajectory(given)], expected })))[0]!;
}

const READ = { tool: "read", arguments: { path: "a" } };
const WRITE = { tool: "write", arguments: { path: "b" } };

Deno.test("judge() scores the share of expected calls, with more arguments allowed, which are less near", async () => {
  const tool_calls = [fakeToolCall("read", { path: "a", head: 1 })];
  const verdict = await judge({ expected: [READ, WRITE] }, { tool_calls });
  assert.deepEqual(verdict, {
    score: 0.5,
    reason: 'write was not called with {"path":"b"}',
    parts: { expected: 0.5, near: 2 / 3 / 2, forbidden: 0, over: 0, calls: 1, invalid: 0, failed: 0 },
  });
});

Deno.test("judge() asks for one call for each expected one, and for the order where told", async () => {
  const tool_calls = [fakeToolCall("write", { path: "b" }), fakeToolCall("read", { path: "a" })];
  const score = (verdict: Judgement) => "score" in verdict ? verdict.score : NaN;
  assert.equal(score(await judge({ expected: [READ, WRITE] }, { tool_calls })), 1);
  assert.equal(score(await judge({ expected: [READ, WRITE] }, { tool_calls }, { order: "as_listed" })), 0.5);
  assert.equal(score(await judge({ expected: [READ, READ] }, { tool_calls })), 0.5);
  assert.equal(
    score(await judge({ expected: [READ] }, { tool_calls: [fakeToolCall("read", { path: "a" }, "tool_error")] })),
    0,
  );
});

Deno.test("judge() scores 0 for forbidden and for too many calls", async () => {
  const tool_calls = [fakeToolCall("rm"), fakeToolCall("read")];
  const forbidden = await judge({ forbidden: ["rm"] }, { tool_calls });
  assert.deepEqual([forbidden], [{
    score: 0,
    reason: "a forbidden tool was called once",
    parts: { expected: 1, near: 1, forbidden: 1, over: 0, calls: 2, invalid: 0, failed: 0 },
  }]);
  const over = await judge({ max: 1 }, { tool_calls });
  assert.equal("reason" in over && over.reason, "2 calls: expected at most 1");
});

Deno.test("judge() counts invalid and failed calls apart and decides only where told", async () => {
  const turns = [fakeTurn({ invalid_call: "no JSON" }), fakeTurn()];
  const tool_calls = [
    fakeToolCall("x", {}, "unknown_tool"),
    fakeToolCall("read", {}, "tool_error"),
    fakeToolCall("read", {}, "timeout"),
  ];
  const verdict = await judge(undefined, { turns, tool_calls }, { decisive: false });
  assert.deepEqual(verdict, {
    score: 1,
    reason: "the calls are as expected",
    parts: { expected: 1, near: 1, forbidden: 0, over: 0, calls: 3, invalid: 2, failed: 2 },
  });
  assert.deepEqual(await judge(undefined, { turns, tool_calls }), { abstain: "the scenario expects no calls" });
  for (const decisive of [true, false]) {
    assert.equal((await plugin.create(fakeContext(plugin.config.parse({ decisive })))).decisive, decisive);
  }
});

Deno.test("judge() says how near the calls came, refused ones too", async () => {
  const expected = [{ tool: "write", arguments: { path: "b", content: "x" } }, READ];
  const nearness = async (tool_calls: Trajectory["tool_calls"]) => {
    const verdict = await judge({ expected }, { tool_calls });
    return "score" in verdict && verdict.parts!.near;
  };
  assert.equal(await nearness([fakeToolCall("write", { path: "b" }, "invalid_arguments")]), 1 / 3);
  assert.equal(
    await nearness([fakeToolCall("write", { path: "b", content: "x" }), fakeToolCall("read", { path: "c" })]),
    0.75,
  );
  assert.equal(await nearness([fakeToolCall("list")]), 0);
});

Deno.test("judge() compares arguments with a schema, and takes the order from the scenario", async () => {
  const written = (content: string) => fakeToolCall("write", { path: "b", content });
  const spec = {
    tool: "write",
    arguments: { path: "b" },
    schema: { required: ["content"], properties: { content: { pattern: "^maple", maxLength: 8 } } },
  };
  const found = await judge({ expected: [spec] }, { tool_calls: [written("maple!")] });
  assert.equal("score" in found && found.score, 1);
  for (const content of ["oak", "maple and oak"]) {
    assert.deepEqual(await judge({ expected: [spec] }, { tool_calls: [written(content)] }), {
      score: 0,
      reason: 'write was not called with {"path":"b"} and with arguments that fit the schema',
      parts: { expected: 0, near: 2 / 3, forbidden: 0, over: 0, calls: 1, invalid: 0, failed: 0 },
    });
  }
  const tool_calls = [fakeToolCall("write", { path: "b" }), fakeToolCall("read", { path: "a" })];
  const ordered = await judge({ expected: [READ, WRITE], order: "as_listed" }, { tool_calls });
  assert.equal("score" in ordered && ordered.score, 0.5);
});

Deno.test("judge() forbids calls by their arguments", async () => {
  const forbidden = [{
    tool: "write",
    arguments: {},
    schema: { required: ["path"], properties: { path: { pattern: "^/etc/" } } },
  }];
  const allowed = await judge({ forbidden }, { tool_calls: [fakeToolCall("write", { path: "b" })] });
  assert.equal("score" in allowed && allowed.score, 1);
  const made = await judge({ forbidden }, {
    tool_calls: [fakeToolCall("write", { path: "/etc/passwd" }, "tool_error")],
  });
  assert.deepEqual(made, {
    score: 0,
    reason: "a forbidden call was made once",
    parts: { expected: 1, near: 1, forbidden: 1, over: 0, calls: 1, invalid: 0, failed: 1 },
  });
  assert.deepEqual(plugin.expects!.calls!({ forbidden: ["rm", ...forbidden] }), [
    { as: "forbidden", call: { tool: "rm" }, path: ["forbidden", 0] },
    { as: "forbidden", call: forbidden[0]!, path: ["forbidden", 1, "tool"] },
  ]);
});
