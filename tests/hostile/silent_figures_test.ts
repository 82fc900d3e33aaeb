/**
 * Figures that must not be silent: servers without a folder, state that cannot be observed, checks that hold before the
 * agent acts, stages that were wrong when a run was stopped. Real processes; the policy is a scripted endpoint.
 * @module
 */
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import assert from "node:assert/strict";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { scriptedEndpoint, type ScriptedRequest } from "../fixtures/scripted_endpoint.ts";
import { TEST_SERVER } from "../fixtures/test_pool.ts";
import { type Ended, folder, hone, ROOT, rows, start } from "../runs/hone_process.ts";

const OWN = { command: "deno", args: ["run", "-A", TEST_SERVER] };
const REWARDS = `SELECT scenario_id, value, success, invalid FROM rollouts JOIN rewards USING (rollout_id)
  ORDER BY scenario_id, try`;

interface Evaluation {
  servers: Record<string, unknown>;
  tasks: Record<string, unknown>[];
  /** What the policy says; by default it does nothing. */
  script?: (request: ScriptedRequest) => string;
  stages?: Record<string, unknown>[];
  more?: Record<string, unknown>;
}

/** Evaluates a pipeline in a process of its own. */
async function evaluate(
  dir: string,
  { servers, tasks, script = () => "Done.", stages, more = {} }: Evaluation,
): Promise<Ended & { run_dir: string }> {
  await using endpoint = scriptedEndpoint(script);
  const pipeline = {
    name: "silent",
    ladder: [],
    agent: {
      max_turns: 4,
      tool_format: "llama_json",
      endpoint: { base_url: endpoint.policy.base_url, model: "scripted", context_tokens: 4096 },
    },
    servers,
    stages: stages ?? [
      { use: "discoverer/mcp" },
      { use: "scenario-source/file", with: { path: "./tasks.json", split: "heldout" } },
      { use: "rollout/chat" },
      { use: "judge/state" },
      { use: "reward-shaper/weighted" },
    ],
    ...more,
  };
  await writeFile(join(dir, "pipeline.yaml"), JSON.stringify(pipeline));
  await writeFile(join(dir, "tasks.json"), JSON.stringify(tasks));
  const run_dir = join(dir, "run");
  const ended = await start(["evaluate", join(dir, "pipeline.yaml"), "--yes", "--run-dir", run_dir]).ended;
  return { ...ended, run_dir };
}

const call = (name: string, parameters: Record<string, unknown>) => JSON.stringify({ name, parameters });

Deno.test("a server that all rollouts share has no folder: file checks and setup files are refused", async () => {
  await using dir = await folder();
  const shared = { it: { ...OWN, isolation: "shared", allow_writes: true } };
  const tasks = [
    { id: "one", task: "Do nothing.", checks: [{ absent: "a.txt" }] },
    { id: "two", task: "Do nothing.", setup: { files: { "a.txt": "x" } }, checks: [{ call: { tool: "notes" } }] },
  ];
  const { code, err } = await evaluate(dir.path, { servers: shared, tasks });
  assert.equal(code, 2, err);
  assert.match(
    err,
    /tasks\.json:1:\d+ error\[SCENARIO_WITHOUT_FOLDER\] Scenario "one" needs .* \(checks\[0\]\.absent\)/,
  );
  assert.match(err, /error\[SCENARIO_WITHOUT_FOLDER\] Scenario "two" needs .* \(setup\.files\.a\.txt\)/);
  // Scenarios that are made during the run are refused before the first rollout.
  await writeFile(
    join(dir.path, "source.ts"),
    `import { definePlugin } from "@hone/hone"; import { z } from "zod";
     export default definePlugin({ kind: "scenario-source", name: "made", summary: "Made.", config: z.strictObject({}),
       examples: [{ title: "Defaults", with: {} }],
       create: () => ({ produce: () => ${
      JSON.stringify(tasks.map((one) => ({ split: "heldout", tags: [], ...one })))
    } }),
     });`,
  );
  const stages = [
    { use: "discoverer/mcp" },
    { use: "./source.ts" },
    { use: "rollout/chat" },
    { use: "judge/state" },
    { use: "reward-shaper/weighted" },
  ];
  const made = await evaluate(dir.path, { servers: shared, tasks, stages });
  assert.notEqual(made.code, 0);
  assert.match(
    made.err,
    /error\[SCENARIO_WITHOUT_FOLDER\] Scenario "one"[\s\S]*SCENARIO_WITHOUT_FOLDER\] Scenario "two"/,
  );
});

Deno.test("a check that no judge of the pipeline reads needs nothing of the servers", async () => {
  await using dir = await folder();
  const tasks = [{ id: "one", task: "Say hi.", answer: { equals: "done" }, checks: [{ file: "a.txt" }] }];
  const stages = [
    { use: "discoverer/mcp" },
    { use: "scenario-source/file", with: { path: "./tasks.json", split: "heldout" } },
    { use: "rollout/chat" },
    { use: "judge/answer" },
    { use: "reward-shaper/weighted" },
  ];
  const servers = { it: { ...OWN, isolation: "shared", allow_writes: true } };
  const { code, err, run_dir } = await evaluate(dir.path, { servers, tasks, stages });
  assert.equal(code, 0, err);
  assert.deepEqual(await rows(run_dir, REWARDS), [{ scenario_id: "one", value: 1, success: true, invalid: null }]);
});

Deno.test("state that a server hides from the judge is invalid with the reason, never 0 and never 1", async () => {
  await using dir = await folder();
  const tasks = [
    { id: "dies", task: "Do nothing.", checks: [{ call: { tool: "crash" }, contains: "x" }, { absent: "a.txt" }] },
    { id: "gone", task: "Remove the folder.", checks: [{ absent: "a.txt" }] },
    { id: "late", task: "Do nothing.", checks: [{ call: { tool: "sleep", arguments: { ms: 60_000 } } }] },
    { id: "wrong", task: "Do nothing.", checks: [{ call: { tool: "append" }, contains: "x" }] },
  ];
  // The folder goes while the agent plays: its server is in it.
  const script = ({ messages }: ScriptedRequest) => {
    const task = messages.find(({ role }) => role === "user")!.content;
    if (!task.startsWith("Remove") || messages.at(-1)!.role === "tool") return "Done.";
    return messages.some(({ role }) => role === "assistant") ? "Done." : call("leave", {});
  };
  const leaving = join(dir.path, "leaving_server.ts");
  const source = (await readFile(TEST_SERVER, "utf8")).replace(
    "  pid: () => text(process.pid),",
    "  pid: () => text(process.pid),\n  leave: async () => text(await Deno.remove(Deno.cwd(), { recursive: true })),",
  );
  await writeFile(leaving, source);
  const servers = { it: { command: "deno", args: ["run", "-A", leaving], call_timeout_secs: 2 } };
  const { err, run_dir } = await evaluate(dir.path, { servers, tasks, script });
  const found = await rows(run_dir, REWARDS);
  assert.deepEqual(found.map(({ value, success }) => [value, success]), tasks.map(() => [null, false]), err);
  const reasons = found.map(({ invalid }) => String(invalid));
  assert.match(reasons[0]!, /^state: the end state was not observed \(server_died: /);
  assert.equal(reasons[1], "state: the end state was not observed");
  assert.match(reasons[2]!, /^state: the end state was not observed \(timeout: /);
  assert.match(reasons[3]!, /^state: the end state was not observed \(invalid_arguments: /);
  assert.match(
    await readFile(join(run_dir, "run.log"), "utf8"),
    /state: could not observe \S+gone\S*: Folder .* a server removed or replaced it/,
  );
});

Deno.test("doing nothing earns nothing, whatever holds before the agent acts", async () => {
  await using dir = await folder();
  const ada = { calls: [{ tool: "append", arguments: { text: "Ada" } }] };
  const tasks = [
    {
      id: "call",
      task: "Add Bob.",
      setup: ada,
      checks: [{ call: { tool: "notes" }, contains: "Ada" }, { call: { tool: "notes" }, contains: "Bob" }],
    },
    {
      id: "contains",
      task: "Finish.",
      setup: { files: { "todo.txt": "open" } },
      checks: [{ file: "todo.txt", contains: "done" }],
    },
    { id: "made", task: "Write.", setup: ada, checks: [{ file: "notes.json" }, { file: "b.txt" }] },
    // Nothing says that this tool is read-only: it is not called before, and earns nothing by itself.
    { id: "unknown", task: "Write.", checks: [{ call: { tool: "helpers" }, contains: "[" }, { file: "b.txt" }] },
  ];
  const { code, err, run_dir } = await evaluate(dir.path, { servers: { it: OWN }, tasks });
  assert.equal(code, 0, err);
  const none = { value: 0, success: false, invalid: null };
  assert.deepEqual(await rows(run_dir, REWARDS), tasks.map(({ id }) => ({ scenario_id: id, ...none })));
});

Deno.test("what the agent does is worth what it changes, and a check that it breaks fails", async () => {
  await using dir = await folder();
  const checks = [{ call: { tool: "notes" }, contains: "Ada" }, { call: { tool: "notes" }, contains: "Bob" }];
  const ada = { calls: [{ tool: "append", arguments: { text: "Ada" } }] };
  const tasks = [
    { id: "both", task: "Add Ada and Bob.", checks },
    { id: "broken", task: "Break it.", setup: ada, checks: [...checks, { file: "b.txt" }] },
    { id: "kept", task: "Add Bob.", setup: ada, checks },
    { id: "one", task: "Add Ada.", checks },
  ];
  const script = ({ messages }: ScriptedRequest) => {
    const task = messages.find(({ role }) => role === "user")!.content;
    const left = [
      ...task.startsWith("Add")
        ? ["Ada", "Bob"].filter((name) => task.includes(name)).map((text) => call("append", { text }))
        : [],
      ...task.startsWith("Break") ? [call("write", { path: "notes.json" }), call("write", { path: "b.txt" })] : [],
    ];
    return left[messages.filter(({ role }) => role === "assistant").length] ?? "Done.";
  };
  const { code, err, run_dir } = await evaluate(dir.path, { servers: { it: OWN }, tasks, script });
  assert.equal(code, 0, err);
  assert.deepEqual(
    (await rows(run_dir, REWARDS)).map(({ scenario_id, value, success }) => [scenario_id, value, success]),
    [
      ["both", 1, true],
      ["broken", 0, false],
      ["kept", 1, true],
      ["one", 0.4 / 3, false],
    ],
  );
});

/** An MCP server over HTTP whose notes all rollouts share; `calls` counts them by tool. */
function notesOverHttp(calls: Record<string, number>): Disposable & { url: string } {
  const notes: string[] = ["Ada"];
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: "notes", version: "1.0.0" });
    const counted = (tool: string) => calls[tool] = (calls[tool] ?? 0) + 1;
    const text = () => ({ content: [{ type: "text" as const, text: notes.join(", ") }] });
    server.registerTool("list_notes", { inputSchema: z.object({}) }, () => {
      counted("list_notes");
      return text();
    });
    server.registerTool("add_note", { inputSchema: z.object({ name: z.string() }) }, ({ name }) => {
      counted("add_note");
      notes.push(name);
      return text();
    });
    return server;
  });
  const stop = new AbortController();
  const options = { port: 0, hostname: "127.0.0.1", onListen() {}, signal: stop.signal };
  const server = Deno.serve(options, (request) => handler.fetch(request));
  return { url: `http://127.0.0.1:${server.addr.port}/mcp`, [Symbol.dispose]: () => stop.abort() };
}

Deno.test("a server over the network is checked by its read-only tools, and by no others", async () => {
  await using dir = await folder();
  const calls: Record<string, number> = {};
  using notes = notesOverHttp(calls);
  const tasks = [
    { id: "added", task: "Add Bob.", checks: [{ call: { tool: "list_notes" }, contains: "Bob" }] },
    {
      id: "idle",
      task: "Add Cleo.",
      checks: [{ call: { tool: "list_notes" }, contains: "Ada" }, { call: { tool: "list_notes" }, contains: "Cleo" }],
    },
  ];
  const refused = await evaluate(dir.path, { servers: { notes: { url: notes.url } }, tasks });
  assert.equal(refused.code, 2, refused.err);
  assert.match(
    refused.err,
    /error\[SCENARIO_CALL_REFUSED\] Scenario "added" needs a call of "list_notes" \(checks\[0\]/,
  );
  assert.deepEqual(calls, {});
  const script = ({ messages }: ScriptedRequest) => {
    const bob = messages.some(({ content }) => content.includes("Add Bob"));
    return bob && !messages.some(({ role }) => role === "assistant") ? call("add_note", { name: "Bob" }) : "Done.";
  };
  const server = { url: notes.url, read_only_tools: ["list_*"], allow_writes: true };
  const { code, err, run_dir } = await evaluate(dir.path, { servers: { notes: server }, tasks, script });
  assert.equal(code, 0, err);
  assert.deepEqual((await rows(run_dir, REWARDS)).map(({ scenario_id, value }) => [scenario_id, value]), [
    ["added", 1],
    ["idle", 0],
  ]);
  // Each of the three checks is called before the agent acts and in the end.
  assert.deepEqual(calls, { list_notes: 6, add_note: 1 });
});

Deno.test("one result has one interval: in the log, the store, the verdict, and the report", async () => {
  await using dir = await folder();
  const tasks = ["a", "b", "c", "d"].map((id) => ({ id, task: `Say ${id}.`, answer: { contains: "yes" } }));
  const stages = [
    { use: "scenario-source/file", with: { path: "./tasks.json", split: "heldout" } },
    { use: "rollout/chat" },
    { use: "judge/answer" },
    { use: "reward-shaper/weighted" },
  ];
  // The same scenarios succeed in all of their tries: three tries say no more than one.
  const script = ({ messages }: ScriptedRequest) =>
    messages.some(({ content }) => /Say [ab]/.test(content)) ? "yes" : "no";
  const more = { evaluate: { policies: ["base"], tries: 3 } };
  const { code, err, out, run_dir } = await evaluate(dir.path, { servers: {}, tasks, stages, script, more });
  assert.equal(code, 0, err);
  const { success } = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8")).policies.base;
  assert.deepEqual(await rows(run_dir, "SELECT mean, low, high, n FROM evaluations"), [success]);
  const [low, high] = [success.low.toFixed(2), success.high.toFixed(2)];
  assert.deepEqual([success.mean, success.n, low, high], [0.5, 12, "0.09", "0.91"]);
  assert.match(await readFile(join(run_dir, "run.log"), "utf8"), new RegExp(`6 of 12 \\(${low} to ${high}\\)`));
  assert.match(out, new RegExp(`0\\.50 \\(95 % interval ${low} to ${high}, n 12\\)`));
  assert.match(await readFile(join(run_dir, "report.md"), "utf8"), new RegExp(`${low} to ${high}`));
});

/** A reward shaper that says that every reward is invalid, or, once mended, gives the judge's score. */
const shaper = (shape: string) =>
  `import { definePlugin } from "@hone/hone"; import { z } from "zod";
  export default definePlugin({ kind: "reward-shaper", name: "mended", summary: "Mended.", config: z.strictObject({}),
    examples: [{ title: "Defaults", with: {} }], create: () => ({ shape: (_trajectory, { state }) => (${shape}) }) });`;

/** The scripted pipeline with one step of training, in a folder where its parts can be wrong. */
async function scriptedIn(dir: string, change: (pipeline: string) => string = (text) => text): Promise<string> {
  const scripted = join(ROOT, "tests/fixtures/scripted");
  for (const name of ["scenarios.yaml", "trainer.ts"]) await copyFile(join(scripted, name), join(dir, name));
  const text = await readFile(join(scripted, "pipeline.yaml"), "utf8");
  await writeFile(join(dir, "pipeline.yaml"), change(text.replace("steps: 3", "steps: 1")));
  return join(dir, "pipeline.yaml");
}

/** Runs until `wrong` fails the run, twice; then mends, resumes, and checks what was made again. */
async function assertMended(pipeline: string, run_dir: string, wrong: RegExp, mend: () => Promise<void>) {
  const first = await hone("run", pipeline, "--yes", "--run-dir", run_dir);
  assert.equal(first.code, 1, first.err);
  assert.match(first.err, wrong);
  assert.match((await hone("resume", run_dir, "--yes")).err, wrong);
  const played = () => rows(run_dir, "SELECT rollout_id FROM rollout_ends ORDER BY rowid");
  const before = await played();
  await mend();
  const mended = await hone("resume", run_dir, "--yes");
  assert.equal(mended.code, 0, mended.err);
  assert.deepEqual((await played()).slice(0, before.length), before, "no rollout is played again");
  assert.deepEqual(await rows(run_dir, "SELECT count(*)::INT AS n FROM rewards WHERE invalid IS NOT NULL"), [{ n: 0 }]);
  const { policies } = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  for (const [name, { success }] of Object.entries<{ success: { n: number } }>(policies)) {
    assert.equal(success.n, 2, name);
  }
}

const JUDGED =
  "SELECT max(n)::INT AS most FROM (SELECT count(*) AS n FROM judgement_records GROUP BY rollout_id, judge)";

Deno.test("resume after a mended reward shaper makes its rewards again, and nothing else", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const pipeline = await scriptedIn(dir.path, (text) => text.replace("reward-shaper/weighted", "./shaper.ts"));
  await writeFile(join(dir.path, "shaper.ts"), shaper(`{ invalid: "no judge is called stat" }`));
  await assertMended(
    pipeline,
    run_dir,
    /\b0 of 4 reference solutions reach .* server; 4 could not be judged\n[^]*NO_DEMONSTRATION.*no judge is called stat/,
    () => writeFile(join(dir.path, "shaper.ts"), shaper("{ value: state.score, parts: {} }")),
  );
  assert.deepEqual(await rows(run_dir, JUDGED), [{ most: 1 }], "no rollout is judged again");
  const measured = "SELECT n FROM evaluations WHERE policy = 'base' ORDER BY rowid";
  assert.deepEqual(await rows(run_dir, measured), [{ n: 0 }, { n: 2 }], "the base policy is measured again");
});

Deno.test("resume after mended checks judges the recorded rollouts again", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const pipeline = await scriptedIn(dir.path);
  const path = join(dir.path, "scenarios.yaml");
  const right = await readFile(path, "utf8");
  await writeFile(path, right.replaceAll(/(checks: .*equals: \w+)/g, "$1-wrong"));
  const wrong = /NO_DEMONSTRATION.*the judges scored every replay below success/;
  await assertMended(pipeline, run_dir, wrong, () => writeFile(path, right));
  assert.deepEqual(await rows(run_dir, JUDGED), [{ most: 2 }]);
  const scores =
    "SELECT count(*)::INT AS n FROM judgements JOIN rollouts USING (rollout_id) WHERE purpose = 'demonstration' AND score < 1";
  assert.deepEqual(await rows(run_dir, scores), [{ n: 0 }]);
});
