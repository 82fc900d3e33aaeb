/** A list of 253 tools: refused before any rollout where it does not fit, chosen for each scenario where it must. @module */
import assert from "node:assert/strict";
import { join } from "node:path";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { runVerb } from "../fixtures/small_run.ts";
import resume from "../../runners/verbs/resume.ts";
import run from "../../runners/verbs/run.ts";
import { folder } from "../runs/hone_process.ts";
import { changingServer, writePipeline, writeTools } from "./changing_runs.ts";

const TOOLS = Array.from({ length: 253 }, (_, i) => ({
  name: `tool_${i}`,
  description: `Tool number ${i} of a long list. ${"It has much to say about itself. ".repeat(8)}`,
  inputSchema: {
    type: "object",
    properties: Object.fromEntries(
      ["owner", "repository", "page"].map((
        name,
      ) => [name, { type: "string", description: `The ${name}.`, minLength: 1 }]),
    ),
    required: ["owner"],
  },
}));
const needing = (id: string, ...tools: string[]) => ({
  id,
  task: "Say hello.",
  solution: { calls: tools.map((tool) => ({ tool, arguments: { owner: "me" } })), answer: "hello" },
});

Deno.test("a list that does not fit the model's context is refused with the numbers, before any rollout", async () => {
  await using home = await folder();
  await using endpoint = scriptedEndpoint(() => "hello", { context_tokens: 8192 });
  const file = join(home.path, "tools.json");
  await writeTools(file, TOOLS);
  const pipeline = await writePipeline(home.path, {
    base_url: endpoint.policy.base_url,
    server: changingServer(file),
    scenarios: [needing("one", "tool_7")],
  });
  const run_dir = join(home.path, "run");
  const { code, err } = await runVerb(run, { positional: [pipeline], args: { run_dir, yes: true } });
  assert.deepEqual([code, err.slice(1)], [1, [
    "error[TOOLS_DO_NOT_FIT] Cannot offer 253 tools: they take about 38,446 tokens, which brings the first " +
    'prompt of scenario "one" to about 38,449; with a reply of up to 256 that exceeds the context of "scripted", 8,192\n' +
    "  hint: set agent.tool_budget_tokens to 7933 or less, so that each scenario gets the tools that it needs and as " +
    "many others as fit; or offer fewer tools with tools: or deny: of the server",
    "failed before the first rollout finished; the run folder was deleted: fix the cause and run it again",
  ]]);
  assert.equal(endpoint.requests.length, 0);
  const narrow = ["agent.endpoint.context_tokens=100000"];
  const fits = { run_dir: join(home.path, "fits"), yes: true, set: narrow };
  assert.equal(
    (await runVerb(run, { positional: [pipeline], args: fits })).code,
    0,
    "a setting goes before what is asked",
  );
  assert.equal(endpoint.requests[0]!.tools!.length, 253);
});

Deno.test("within a budget each scenario is offered what it needs and others, the same after a resume", async () => {
  await using home = await folder();
  let heard = () => {};
  const script = () => {
    heard();
    return "hello";
  };
  await using endpoint = scriptedEndpoint(script, { context_tokens: 8192 });
  const file = join(home.path, "tools.json");
  await writeTools(file, TOOLS);
  const pipeline = await writePipeline(home.path, {
    base_url: endpoint.policy.base_url,
    server: { ...changingServer(file), deny: ["tool_1*"] },
    agent: { tool_budget_tokens: 1000, tool_schemas: "compact" },
    scenarios: [needing("one", "tool_7", "tool_252"), needing("two", "tool_33")],
  });
  const offered = async (run_dir: string) => {
    await using records = await openRun(run_dir);
    const rows = await records.query(
      "SELECT scenario_id, tools FROM turns JOIN rollouts USING (rollout_id) WHERE turn = 0 AND abandoned IS NULL ORDER BY scenario_id, attempt",
    );
    return rows.map(({ scenario_id, tools }) => [scenario_id, tools] as [string, string[]]);
  };
  const first = join(home.path, "first");
  assert.equal((await runVerb(run, { positional: [pipeline], args: { run_dir: first, yes: true } })).code, 0);
  const [one, two] = await offered(first);
  assert.ok(one![1].includes("tool_7") && one![1].includes("tool_252") && two![1].includes("tool_33"));
  assert.ok(one![1].length > 10 && one![1].length < 25, String(one![1].length));
  assert.notDeepEqual(one![1], two![1]);
  assert.ok(one![1].every((name) => !/^tool_1/.test(name)), "what is denied is never offered");
  const asked = endpoint.requests.map(({ tools }) => tools!.map((tool) => (tool.function as JsonObject).name));
  assert.deepEqual(new Set(asked.map(String)), new Set([String(one![1]), String(two![1])]));
  assert.deepEqual((endpoint.requests[0]!.tools![0]!.function as JsonObject).parameters, {
    type: "object",
    properties: Object.fromEntries(
      ["owner", "repository", "page"].map((name) => [name, { type: "string", description: `The ${name}` }]),
    ),
    required: ["owner"],
  });

  const second = join(home.path, "second");
  const stop = new AbortController();
  heard = () => stop.abort();
  const args = { run_dir: second, yes: true, set: ["train.concurrency=1"] };
  assert.equal((await runVerb(run, { positional: [pipeline], args, signal: stop.signal })).code, 130);
  heard = () => {};
  assert.equal((await runVerb(resume, { positional: [second], args: { yes: true } })).code, 0);
  assert.deepEqual(await offered(second), [one, two]);
});
