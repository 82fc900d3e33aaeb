/**
 * What servers do wrong, in one run with one rollout for each fault: every one ends in a typed outcome of its own, its
 * neighbours go on, and nothing is left running.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import type { Row } from "../../pipeline/store/store.ts";
import { runVerb } from "../fixtures/small_run.ts";
import run from "../../runners/verbs/run.ts";
import { openPool, scenario, TEST_SERVER, testServer } from "../fixtures/test_pool.ts";

/** What the agent calls, and how that ends: the rollout, the call, what the model reads. */
type Fault = [tool: string, args: JsonObject, end: string, outcome: string, text: RegExp];

const DIED = "server_failed";
const LATE = /^The tool did not answer within 10 s\.$/;
const ODD_RPC = /^The server's answer is not JSON-RPC: /;
const FAULTS: Record<string, Fault> = {
  neighbour: ["notes", {}, "answered", "ok", /^\[\]$/],
  thrown: ["thrown", {}, "answered", "protocol_error", /^it broke$/],
  is_error: ["fail", {}, "answered", "tool_error", /^this did not work$/],
  exits: ["crash", {}, DIED, "server_died", /^The server exited with code 7\.$/],
  hangs: ["sleep", { ms: 600_000 }, "answered", "timeout", LATE],
  floods: [
    "flood",
    { megabytes: 70 },
    DIED,
    "server_died",
    /^The server sent a message of more than 67108864 bytes\.$/,
  ],
  floods_with_ends: ["flood", {}, "answered", "timeout", LATE],
  garbage: ["garbage", {}, "answered", "ok", /^after all$/],
  wrong_id: ["wrong_id", {}, "answered", "timeout", LATE],
  no_result: ["no_result", {}, "answered", "protocol_error", ODD_RPC],
  result_is_text: ["result_is_text", {}, "answered", "protocol_error", ODD_RPC],
  error_is_text: ["error_is_text", {}, "answered", "protocol_error", ODD_RPC],
  content_is_text: ["malformed", {}, "answered", "protocol_error", /./],
  answers_twice: ["twice", {}, "answered", "ok", /^first$/],
  big: ["big", { bytes: 8_000_000 }, "answered", "ok", /^y{900}/],
  deep: ["deep", { levels: 50_000 }, DIED, "server_died", /^The server sent JSON nested more than 1000 deep\.$/],
  invalid_utf8: ["invalid_utf8", {}, "answered", "ok", /^a\uFFFDb$/],
  stderr_flood: ["stderr_flood", {}, "answered", "ok", /^still here$/],
  asks_its_client: ["ask", {}, "answered", "ok", /decline/],
  schema_is_none: ["pid", {}, "answered", "ok", /^\d+$/],
  own_complete_task: ["it_complete_task", {}, "answered", "ok", /^the server's own$/],
  empty_resource: ["read_resource", { uri: "test://folder" }, "answered", "ok", /^\[a resource without content\]$/],
  odd_resource: ["read_resource", { uri: "test://odd" }, "answered", "protocol_error", /./],
  no_resource: ["read_resource", { uri: "test://gone" }, "answered", "protocol_error", /^Resource not found$/],
  proto: ["proto", JSON.parse('{"__proto__": {"polluted": 1}}'), "answered", "ok", /^\["__proto__"\]$/],
  neighbour_after: ["append", { text: "x" }, "answered", "ok", /^\["x"\]$/],
};

const pipeline = (base_url: string, mark: string, agent: JsonObject) => ({
  name: "faults",
  agent: {
    endpoint: { base_url, model: "scripted" },
    tool_format: "llama_json",
    max_result_chars: 1000,
    tool_timeout_secs: 10,
    complete_task: true,
    ...agent,
  },
  servers: { it: { command: "deno", args: ["run", "-A", TEST_SERVER, "--eager", mark], resources: true } },
  stages: ["discoverer/mcp", "rollout/chat", "judge/answer", "reward-shaper/weighted"].map((use) => ({ use })).concat([
    { use: "scenario-source/file", with: { path: "./tasks.yaml" } } as { use: string },
  ]),
  train: { concurrency: 8 },
  evaluate: { policies: ["base"] },
});

/** One run over all faults; its rows by scenario, and how many rewards are valid. Nothing is left running. */
async function faultRun(
  faults: Record<string, Fault>,
  agent: JsonObject = {},
): Promise<{ rows: Row[]; valid: number }> {
  const dir = await Deno.makeTempDir({ prefix: "hone-faults-" });
  const mark = `--mark=${crypto.randomUUID()}`;
  await using endpoint = scriptedEndpoint(({ messages }) => {
    const asked = /Fault: (\w+)/.exec(messages.at(-1)!.content);
    if (!asked) return "Done.";
    const [name, given] = faults[asked[1]!]!;
    return JSON.stringify({ name, arguments: given });
  });
  const answer = { equals: "Done." };
  const tasks = Object.keys(faults).map((id) => ({ id, split: "heldout", task: `Fault: ${id}`, answer }));
  await Deno.writeTextFile(join(dir, "tasks.yaml"), JSON.stringify(tasks));
  await Deno.writeTextFile(join(dir, "my.yaml"), JSON.stringify(pipeline(endpoint.policy.base_url, mark, agent)));
  const run_dir = join(dir, "run");
  const { code } = await runVerb(run, { positional: [join(dir, "my.yaml")], args: { run_dir, yes: true } });
  assert.equal(code, 0);
  try {
    await using records = await openRun(run_dir);
    const rows = await records.query(
      `SELECT scenario_id, rollouts.outcome AS ended, cause, tool_calls.outcome, text, length(result::VARCHAR) AS bytes,
              (result->>'$.cut.bytes')::BIGINT AS whole_bytes, truncated
       FROM rollouts LEFT JOIN tool_calls USING (rollout_id) ORDER BY scenario_id`,
    );
    const [{ n } = { n: 0 }] = await records.query("SELECT count(*) AS n FROM reward_records WHERE invalid IS NULL");
    assert.equal(spawnSync("ps", ["-A", "-o", "args="], { encoding: "utf8" }).stdout.includes(mark), false);
    return { rows, valid: Number(n) };
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("every fault of a server ends in its own typed outcome, and the other rollouts go on", async () => {
  const { rows, valid } = await faultRun(FAULTS);
  assert.deepEqual(rows.map((row) => row.scenario_id), Object.keys(FAULTS).sort());
  for (const { scenario_id, ended, cause, outcome, text } of rows) {
    const [, , end, wanted, words] = FAULTS[String(scenario_id)]!;
    assert.deepEqual([scenario_id, ended, outcome], [scenario_id, end, wanted], String(text));
    assert.match(String(text), words, `${scenario_id}`);
    assert.equal(cause, end === DIED ? text : null);
  }
  const big = rows.find((row) => row.scenario_id === "big")!;
  assert(big.truncated && Number(big.whole_bytes) > 8_000_000 && String(big.text).length < 1200);
  assert(Number(big.bytes) > 1_000_000 && Number(big.bytes) < 1_001_000, `${big.bytes} bytes are stored`);
  assert.equal(valid, rows.filter((row) => row.ended === "answered").length);
  assert.equal(({} as { polluted?: unknown }).polluted, undefined);
});

Deno.test("agent.rollout_timeout_secs ends a rollout whose tool reports progress for ever, and no other", async () => {
  const busy: Fault = ["progress", { ms: 200, steps: 1_000_000 }, "timeout", "", /^/];
  const { rows, valid } = await faultRun({ busy, neighbour: FAULTS.neighbour! }, { rollout_timeout_secs: 10 });
  assert.deepEqual(rows.map(({ scenario_id, ended, cause }) => [scenario_id, ended, cause]), [
    ["busy", "timeout", "the rollout's time limit was reached"],
    ["neighbour", "answered", null],
  ]);
  assert.equal(valid, 1);
});

Deno.test("a server that cannot be discovered is a clear message each", async () => {
  const START: [flags: string[], code: string, message: RegExp][] = [
    [
      ["--exit"],
      "SERVER_START_FAILED",
      /^Server "it" failed to start: it exited with code 3\. Its stderr:\nno licence found$/,
    ],
    [["--silent"], "SERVER_START_TIMEOUT", /^Server "it" did not answer within 8 s of starting$/],
    [["--deaf"], "SERVER_LIST_FAILED", /^Server "it" cannot list its tools: /],
  ];
  await Promise.all(START.map(async ([flags, code, message]) => {
    const error = await openPool({ it: testServer({ start_timeout_secs: 8 }, ...flags) }).then(
      () => null,
      (error) => error,
    );
    assert(error instanceof HoneError, `${flags}: ${error}`);
    assert.equal(error.code, code);
    assert.match(error.message, message);
  }));
});

Deno.test("a server that starts only once fails the next rollout and not the one that has it", async () => {
  const dir = await Deno.makeTempDir({ prefix: "hone-faults-" });
  await using made = await openPool({ it: testServer({}, "--flaky", join(dir, "started")) });
  const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal: new AbortController().signal };
  const one = await made.pool.lease(wanted);
  await assert.rejects(made.pool.lease(wanted), {
    code: "SERVER_START_FAILED",
    message: 'Server "it" failed to start: it exited with code 4. Its stderr:\nstarted once already',
  });
  assert.equal((await one.call("notes", {})).outcome, "ok");
  await Deno.remove(dir, { recursive: true });
});
