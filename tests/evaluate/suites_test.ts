import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { examinePipeline, loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { render } from "../../pipeline/diagnostics/mod.ts";
import type { ChatMessage } from "../../pipeline/events.ts";
import { runPipeline } from "../../pipeline/run/open_run.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { builtins } from "../../plugins/mod.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import report from "../../runners/verbs/report.ts";
import resume from "../../runners/verbs/resume.ts";
import run from "../../runners/verbs/run.ts";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { folder } from "../runs/hone_process.ts";

const CHAT = resolve(import.meta.dirname!, "../../examples/chat/pipeline.yaml");
const SCRIPTED = resolve(import.meta.dirname!, "../fixtures/scripted/pipeline.yaml");

/** Answers arithmetic, nothing else. */
function counting(messages: ChatMessage[]): string {
  return /number only/.test(messages.at(-1)!.content) ? "42" : "yes";
}

async function pipeline(dir: string, base_url: string, suites: Record<string, unknown>): Promise<string> {
  const whole = {
    name: "main",
    agent: { endpoint: { base_url, model: "m", context_tokens: 4096 }, system_prompt: "Main." },
    stages: [
      { use: "scenario-source/file", with: { path: "./tasks.yaml" } },
      { use: "rollout/chat" },
      { use: "judge/answer" },
      { use: "reward-shaper/weighted" },
    ],
    evaluate: { policies: ["base", "reference"], suites },
  };
  const task = { id: "one", split: "heldout", task: "Say yes.", answer: { equals: "yes" } };
  await writeFile(join(dir, "pipeline.yaml"), JSON.stringify(whole));
  await writeFile(join(dir, "tasks.yaml"), JSON.stringify([task]));
  await writeFile(
    join(dir, "related.yaml"),
    JSON.stringify([{ ...task, id: "two", split: undefined, task: "Say YES." }]),
  );
  return join(dir, "pipeline.yaml");
}

Deno.test("suites are evaluated after the verdict, in folders of their own, and stand beside it", async () => {
  await using home = await folder();
  await using model = scriptedEndpoint(({ messages }) => counting(messages));
  const chat = relative(home.path, CHAT);
  const path = await pipeline(home.path, model.policy.base_url, { related: "./related.yaml", chat });
  const run_dir = join(home.path, "run");
  assert.equal((await runVerb(run, { positional: [path], args: { run_dir, yes: true } })).code, 0);
  const text = await readFile(join(run_dir, "verdict.json"), "utf8");
  const { policies, suites, notes } = JSON.parse(text);
  assert.deepEqual([policies.base.success.n, policies.base.success.mean], [1, 1]);
  const figures = suites.map(({ suite, scenarios, policies }: Suite) => [suite, scenarios, policies.base!.mean]);
  assert.deepEqual(figures, [["related", 1, 1], ["chat", 12, 2 / 12]]);
  assert.ok(notes.includes("Suite chat: base 0.17 (12 scenarios)."), notes.join("\n"));
  // The suite's own agent, and the model of the run; its reference solutions are a ceiling.
  assert.ok(model.requests.some(({ messages }) => messages[0]!.content === "You are a helpful assistant."));
  const of_chat = JSON.parse(await readFile(join(run_dir, "suites", "chat", "verdict.json"), "utf8"));
  assert.deepEqual([of_chat.ceiling.success.n, of_chat.ceiling.unsolved], [12, []]);
  await using records = await openRun(run_dir);
  assert.deepEqual(await records.query("SELECT count(*)::int AS n FROM rollouts"), [{ n: 1 }]);
  await using chats = await openRun(join(run_dir, "suites", "chat"));
  assert.deepEqual(await chats.query("SELECT count(*)::int AS n FROM rollouts"), [{ n: 24 }]);

  assert.equal((await runVerb(report, { positional: [run_dir] })).code, 0);
  assert.equal(await readFile(join(run_dir, "verdict.json"), "utf8"), text);
  const again = await runVerb(resume, { positional: [run_dir], args: { yes: true } });
  assert.match(again.out.join("\n"), /^complete: nothing left to do/);
});

interface Suite {
  suite: string;
  scenarios: number;
  policies: Record<string, { mean: number }>;
}

Deno.test("suites get the weights of a run's policies, are resumed without it, and are evaluated by evaluate too", async () => {
  await using home = await folder();
  const path = join(home.path, "more.yaml");
  const task = {
    id: "more",
    task: 'Create the file "a.txt" with the text "b".',
    checks: [{ file: "a.txt", equals: "b" }],
  };
  await writeFile(path, JSON.stringify([task]));
  const overrides = { "train.steps": 1, "evaluate.suites": { more: path } };
  const run_dir = join(home.path, "run");
  const stop = new AbortController();
  const loaded = await loadPipeline(SCRIPTED, { builtins, overrides });
  const stopped = await runPipeline(loaded, {
    run_dir,
    signal: stop.signal,
    on_log: (_, line) => line.startsWith("suite more: base on heldout") && stop.abort(),
  });
  assert.equal(stopped.status, "interrupted");
  const before = await steps(run_dir);
  const { code, out } = await runVerb(resume, { positional: [run_dir], args: { yes: true }, format: "json" });
  assert.deepEqual([code, JSON.parse(out[0]!).status], [0, "completed"]);
  assert.deepEqual(await steps(run_dir), before);
  const { suites } = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.deepEqual(Object.keys(suites[0].policies), ["base", "warm_start", "tuned"]);

  const two = join(home.path, "two");
  const measured = { positional: [run_dir], args: { policy: "tuned", run_dir: two, yes: true } };
  assert.equal((await runVerb(evaluate, measured)).code, 0);
  const verdict = JSON.parse(await readFile(join(two, "verdict.json"), "utf8"));
  assert.deepEqual(Object.keys(verdict.suites[0].policies), ["tuned"]);
});

/** Starts and steps of the run itself. */
async function steps(run_dir: string) {
  await using records = await openRun(run_dir);
  return await records.query(
    "SELECT (SELECT count(*) FROM run_starts)::int AS starts, (SELECT count(*) FROM train_steps)::int AS steps",
  );
}

Deno.test("a pipeline with bad suites is refused before anything runs, each problem at its place", async () => {
  await using home = await folder();
  const path = await pipeline(home.path, "http://127.0.0.1:1/v1", {
    gone: "./gone.yaml",
    empty: "./empty.yaml",
    both: { path: "./pipeline.yaml", servers: {} },
  });
  await writeFile(join(home.path, "empty.yaml"), "- { id: x, task: Do it., answer: { equal: 1 } }\n");
  const { loaded, diagnostics } = await examinePipeline(await readFile(path, "utf8"), path, { builtins });
  assert.equal(loaded, undefined);
  const said = render(diagnostics).split("\n").filter((line) => line.includes("error["))
    .map((line) => line.replace(/^\S*?(\w+\.yaml)/, "$1").replace(/:\d+:\d+/, ""));
  assert.deepEqual(said, [
    'pipeline.yaml error[PATH_NOT_FOUND] evaluate.suites.gone is "./gone.yaml": no such file or folder',
    "pipeline.yaml error[SUITE_SERVERS] evaluate.suites.both has servers, and its path is a pipeline file, which has its own",
    'empty.yaml error[UNKNOWN_FIELD] Unknown field "equal" in [0].answer: did you mean "equals"?',
  ]);
});
