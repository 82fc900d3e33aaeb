/** The judges on trajectories of real runs: a scripted policy, real servers, a real database. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { scriptedEndpoint, type ScriptedReply, type ScriptedRequest } from "../fixtures/scripted_endpoint.ts";
import { folder, hone, ROOT, rows } from "../runs/hone_process.ts";

const SERVER = join(ROOT, "tests/fixtures/shop_server.ts");

/** Scores by the number of calls; fails for the scenario that expects so. */
const PROGRAM = `#!/usr/bin/env -S deno run
const { group, scenario, expected } = JSON.parse(await new Response(Deno.stdin.readable).text());
if (expected.fail) { console.error("no opinion of " + scenario.id); Deno.exit(3); }
console.log(JSON.stringify(group.map(({ tool_calls }) => ({
  score: tool_calls.length <= expected.most ? 1 : 0,
  reason: tool_calls.length + " calls",
}))));
`;

const order = (customer: string, total: unknown) => ({ customer, item: "tree", total });

/** What the policy does, turn by turn: calls, then an answer. */
const PLAYS: Record<string, { calls: [string, object][]; answer: string }> = {
  good: {
    calls: [["add_order", order("Ada", 12.5)], ["add_order", order("Bob", 3)], ["list_customers", {}]],
    answer: "Bob and Ada.",
  },
  bad: {
    calls: [
      ["list_customers", {}],
      ["list_customers", {}],
      ["ad_order", order("Ada", 1)],
      ["add_order", order("Ada", "much")],
      ["add_order", order("Eve", 1)],
    ],
    answer: "Ada, Eve",
  },
};

function script({ messages }: ScriptedRequest): ScriptedReply {
  const { calls, answer } = PLAYS[messages.find(({ role }) => role === "user")!.content]!;
  const call = calls[messages.filter(({ role }) => role === "assistant").length];
  if (!call) return answer;
  const tool = { name: call[0], arguments: JSON.stringify(call[1]) };
  const tool_calls = [{ id: "call", type: "function", function: tool }];
  return { message: { content: null, tool_calls }, finish_reason: "tool_calls" };
}

const SCENARIO = {
  checks: [
    { sql: { database: "shop.db", query: "SELECT total FROM orders WHERE customer = 'Ada'" }, equals: 12.5 },
    { sql: { database: "shop.db", query: "SELECT customer FROM orders" }, changed: true },
    { call: { tool: "list_customers", arguments: {} }, path: "customers", set: ["Bob", "Ada"] },
  ],
  answer: { set: ["Ada", "Bob"] },
  calls: {
    expected: [{
      tool: "add_order",
      arguments: { customer: "Ada" },
      schema: { properties: { total: { type: "number", exclusiveMinimum: 10 } } },
    }],
    forbidden: [{ tool: "add_order", arguments: { customer: "Eve" } }],
  },
};

function pipeline(base_url: string) {
  return {
    name: "judges",
    ladder: [],
    agent: { max_turns: 8, endpoint: { base_url, model: "scripted" } },
    servers: { shop: { command: "deno", args: ["run", "-A", SERVER], reset: "workdir", cwd: "${workdir}" } },
    stages: [
      { use: "discoverer/mcp" },
      { use: "scenario-source/file", with: { path: "./scenarios.json" } },
      { use: "rollout/chat" },
      { use: "judge/state" },
      { use: "judge/answer", with: { partial: true } },
      { use: "judge/calls" },
      { use: "judge/protocol" },
      { use: "judge/exec", with: { command: ["deno", "run", "judge.ts"] } },
      { use: "judge/human" },
      { use: "reward-shaper/weighted", with: { weights: { state: 1, "protocol.redundant": -0.5 } } },
    ],
  };
}

Deno.test("judges of every kind score real trajectories, and a person's label when they are judged again", async () => {
  await using home = await folder();
  await using endpoint = scriptedEndpoint(script);
  const file = (name: string) => join(home.path, name);
  const scenarios = ["good", "bad"].map((id) => ({
    id,
    task: id,
    split: "heldout",
    ...SCENARIO,
    expect: { exec: id === "good" ? { most: 3 } : { fail: true } },
  }));
  await Deno.writeTextFile(file("scenarios.json"), JSON.stringify(scenarios));
  await Deno.writeTextFile(file("judge.ts"), PROGRAM);
  await Deno.writeTextFile(file("pipeline.yaml"), JSON.stringify(pipeline(endpoint.policy.base_url)));
  const run_dir = file("run");
  const refused = await hone("evaluate", file("pipeline.yaml"), "--run-dir", run_dir);
  assert.equal(refused.code, 2);
  assert.match(
    refused.err,
    /\n {2}judge\/exec: deno run judge\.ts \(its command\)\n {4}with judge\.ts \(sha256 [0-9a-f]{64}\)\n/,
  );
  const ran = await hone("evaluate", file("pipeline.yaml"), "--run-dir", run_dir, "--yes");
  assert.equal(ran.code, 0, ran.err);

  const judged = await judgements(run_dir);
  assert.deepEqual(judged.good, {
    state: "1 every check passes",
    answer: "1 the answer is the expected one",
    calls: "1 the calls are as expected",
    protocol: "1 every call is in order",
    exec: "1 3 calls",
    human: "abstain: nobody labelled the rollout",
  });
  assert.deepEqual(judged.bad, {
    state: '0.13 the query of "shop.db" answered []: expected 12.5',
    answer: '0.33 the answer is "Ada, Eve": expected the values ["ada","bob"] in any order (without "bob", with "eve")',
    calls: "0 a forbidden call was made once",
    protocol:
      "0.84 calls: 1 of unknown tools (ad_order), 1 with invalid arguments (add_order), 1 redundant (list_customers)",
    exec: 'invalid: judge failed: it ended with exit code 3; its last line: "no opinion of bad"',
    human: "abstain: nobody labelled the rollout",
  });
  const [reward] = await rows(
    run_dir,
    "SELECT parts FROM rewards JOIN rollouts USING (rollout_id) WHERE scenario_id = 'bad'",
  );
  assert.deepEqual(JSON.parse(String(reward!.parts)), { state: 0.4 / 3, "protocol.redundant": -0.1 });

  const [bad] = await rows(run_dir, "SELECT rollout_id FROM rollouts WHERE scenario_id = 'bad'");
  const labelled = await hone("label", run_dir, String(bad!.rollout_id), "down", "--reason", "Eve is not welcome");
  assert.deepEqual([labelled.code, labelled.out], [0, "1 label recorded\n"], labelled.err);
  const again = await hone("rejudge", run_dir, "--run-dir", file("again"), "--yes");
  assert.equal(again.code, 0, again.err);
  const anew = await judgements(file("again"));
  assert.deepEqual(anew.bad, { ...judged.bad, human: "0 one label; Eve is not welcome" });
  assert.deepEqual(anew.good, judged.good);
  // A changed program is asked for again, also where only judges run.
  await Deno.writeTextFile(file("judge.ts"), PROGRAM.replace("no opinion", "still no opinion"));
  const asked = await hone("rejudge", run_dir, "--run-dir", file("third"));
  assert.deepEqual([asked.code, /judge\/exec: deno run judge\.ts/.test(asked.err)], [2, true], asked.err);
});

/** By scenario, then by judge, in words. */
async function judgements(run_dir: string): Promise<Record<string, Record<string, string>>> {
  const found: Record<string, Record<string, string>> = {};
  const all = "SELECT * FROM judgements JOIN rollouts USING (rollout_id)";
  for (const { scenario_id, judge, score, reason, abstain, invalid } of await rows(run_dir, all)) {
    (found[String(scenario_id)] ??= {})[String(judge)] = typeof abstain === "string"
      ? `abstain: ${abstain}`
      : typeof invalid === "string"
      ? `invalid: ${invalid}`
      : `${Math.round(Number(score) * 100) / 100} ${reason}`;
  }
  return found;
}
