import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { runPipeline } from "../../pipeline/run/open_run.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { builtins } from "../../plugins/mod.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import resume from "../../runners/verbs/resume.ts";
import run from "../../runners/verbs/run.ts";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { folder } from "../runs/hone_process.ts";

const SCRIPTED = resolve(import.meta.dirname!, "../fixtures/scripted/pipeline.yaml");

const QUESTIONS = [
  { id: "a", split: "heldout", task: "Say yes.", answer: { equals: "yes" }, solution: { calls: [], answer: "yes" } },
  { id: "b", split: "heldout", task: "Say no.", answer: { equals: "no" }, solution: { calls: [], answer: "no" } },
  { id: "c", split: "heldout", task: "Say nothing.", answer: { equals: "" } },
];

/** A pipeline of questions for the model at an address. */
async function questions(dir: string, base_url: string, evaluated: Record<string, unknown>): Promise<string> {
  const pipeline = {
    name: "questions",
    agent: { endpoint: { base_url, model: "small", context_tokens: 4096 }, system_prompt: "Be brief." },
    stages: [
      { use: "scenario-source/file", with: { path: "./tasks.yaml" } },
      { use: "rollout/chat" },
      { use: "judge/answer" },
      { use: "reward-shaper/weighted" },
    ],
    evaluate: evaluated,
  };
  await writeFile(join(dir, "pipeline.yaml"), JSON.stringify(pipeline));
  await writeFile(join(dir, "tasks.yaml"), JSON.stringify(QUESTIONS));
  return join(dir, "pipeline.yaml");
}

Deno.test("a run compares models behind other endpoints, doing nothing, and the reference solutions", async () => {
  await using home = await folder();
  await using small = scriptedEndpoint(() => "yes");
  await using large = scriptedEndpoint(({ messages }) => /Say (.*)\./.exec(messages.at(-1)!.content)![1]!);
  Deno.env.set("HONE_TEST_LARGE", "key-of-the-large-model");
  try {
    const path = await questions(home.path, small.policy.base_url, {
      policies: ["base", "nothing", "reference"],
      models: {
        large: {
          base_url: large.policy.base_url,
          model: "large",
          api_key_env: "HONE_TEST_LARGE",
          context_tokens: 4096,
          system_prompt: "You are large.",
          examples: [{ user: "Say maybe.", assistant: "maybe" }],
          max_tokens: 7,
          price: { input_per_million: 1, output_per_million: 2 },
        },
      },
    });
    const run_dir = join(home.path, "run");
    assert.equal((await runVerb(run, { positional: [path], args: { run_dir, yes: true } })).code, 0);

    const verdict = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
    const solved = Object.entries<{ success: { mean: number; n: number } }>(verdict.policies)
      .map(([name, { success: { mean, n } }]) => [name, Math.round(mean * n), n]);
    assert.deepEqual(solved, [["base", 1, 3], ["large", 2, 3]]);
    const { floor, ceiling } = verdict;
    assert.deepEqual([floor.success.n, floor.satisfied, ceiling.success.n, ceiling.unsolved], [3, ["c"], 2, []]);
    const [first] = large.requests;
    assert.deepEqual(first!.messages.map(({ role, content }) => `${role}: ${content}`), [
      "system: You are large.",
      "user: Say maybe.",
      "assistant: maybe",
      "user: Say yes.",
    ]);
    assert.deepEqual([first!.model, first!.max_tokens], ["large", 7]);
    assert.equal(small.requests[0]!.messages[0]!.content, "Be brief.");
    assert.deepEqual([...new Set(large.authorizations)], ["Bearer key-of-the-large-model"]);
    for (const name of ["run.log", "report.html", "verdict.json", "pipeline.yaml"]) {
      assert(!(await readFile(join(run_dir, name), "utf8")).includes("key-of-the-large-model"), name);
    }
    await using records = await openRun(run_dir);
    const asked = await records.query(
      "SELECT policy, count(*)::int AS n, sum(output_tokens)::int AS tokens FROM rollouts JOIN turns USING (rollout_id) " +
        "WHERE policy IN ('nothing', 'reference') GROUP BY policy ORDER BY policy",
    );
    assert.deepEqual(asked, [{ policy: "nothing", n: 3, tokens: 0 }, { policy: "reference", n: 2, tokens: 0 }]);
  } finally {
    Deno.env.delete("HONE_TEST_LARGE");
  }
});

Deno.test("evaluate measures several policies of a pipeline at once, and says which names it knows", async () => {
  await using home = await folder();
  await using small = scriptedEndpoint(() => "yes");
  await using large = scriptedEndpoint(() => "no");
  const models = { large: { base_url: large.policy.base_url, model: "large", context_tokens: 4096 } };
  const path = await questions(home.path, small.policy.base_url, { models });
  const run_dir = join(home.path, "both");
  const policy = ["large", "base", "nothing"];
  const { code, out } = await runVerb(evaluate, {
    positional: [path],
    args: { policy, run_dir, yes: true },
    format: "json",
  });
  const result = JSON.parse(out[0]!);
  assert.deepEqual([code, result.policy, result.others.map((one: { policy: string }) => one.policy)], [
    0,
    "large",
    ["base", "nothing"],
  ]);
  assert.match(result.sentence, /held-out/);
  const wrong = { positional: [path], args: { policy: "larg", yes: true } };
  await assert.rejects(runVerb(evaluate, wrong), {
    message: 'Cannot use "larg" for --policy: did you mean large?',
  });
  const twice = { positional: [path], args: { policy: ["base", "base"], yes: true } };
  await assert.rejects(runVerb(evaluate, twice), {
    message: 'Cannot evaluate "base" twice: two of the named policies have this name',
  });
});

Deno.test("an evaluation of several checkpoints goes on after it was stopped, and can be evaluated itself", async () => {
  await using home = await folder();
  const run_dir = join(home.path, "one");
  const set = ["train.steps=2", "train.validate_every=0"];
  assert.equal((await runVerb(run, { positional: [SCRIPTED], args: { run_dir, set, yes: true } })).code, 0);
  await using records = await openRun(run_dir);
  const checkpoints =
    (await records.query("SELECT DISTINCT checkpoint FROM policies WHERE checkpoint <> '' ORDER BY 1"))
      .map(({ checkpoint }) => String(checkpoint));
  const kept: string[] = [];
  for (const name of checkpoints) if (await exists(join(run_dir, "checkpoints", name))) kept.push(name);
  assert.ok(kept.length >= 2, checkpoints.join());

  const two = join(home.path, "evaluations", "two");
  const stop = new AbortController();
  const loaded = await loadPipeline(join(run_dir, "pipeline.yaml"), { builtins, trains: false });
  const weights = kept.map((policy) => ({ policy, weights: join(run_dir, "checkpoints", policy) }));
  const stopped = await runPipeline(loaded, {
    run_dir: two,
    signal: stop.signal,
    measure: [{ policy: "base" }, ...weights],
    on_event: ({ type, data }) => {
      if (type === "evaluation.completed" && (data as { policy: string }).policy === kept[0]) stop.abort();
    },
  });
  assert.equal(stopped.status, "interrupted");
  const again = await runVerb(resume, { positional: [two], args: { yes: true }, format: "json" });
  assert.deepEqual([again.code, JSON.parse(again.out[0]!).status], [0, "completed"]);
  const { policies } = JSON.parse(await readFile(join(two, "verdict.json"), "utf8"));
  assert.deepEqual(Object.keys(policies), ["base", ...kept]);

  const third = await runVerb(evaluate, { positional: [two], args: { yes: true }, format: "json" });
  const result = JSON.parse(third.out[0]!);
  assert.deepEqual([third.code, result.policy, result.others.length], [0, "base", kept.length]);
  assert.equal(result.differences.find(({ against }: { against: string }) => against === "base").mean, 0);
  await assert.rejects(runVerb(evaluate, { positional: [two], args: { policy: "prompt", yes: true } }), {
    message: `Cannot evaluate "prompt": no policy of that name in ${JSON.stringify(two)}`,
  });
});

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

Deno.test("replies of a model behind an endpoint are on the tape, also beside a policy that hone itself serves", async () => {
  await using home = await folder();
  const large = scriptedEndpoint(() => "Done.");
  const model = JSON.stringify({ base_url: large.policy.base_url, model: "large", context_tokens: 4096 });
  const set = ["ladder=[]", `evaluate.models.large=${model}`];
  const [first, again] = [join(home.path, "first"), join(home.path, "again")];
  const record = { run_dir: first, set: [...set, "tape=record"], yes: true };
  assert.equal((await runVerb(run, { positional: [SCRIPTED], args: record })).code, 0);
  await large[Symbol.asyncDispose]();
  const replay = { run_dir: again, set: [...set, `tape={mode: replay, path: ${first}}`], yes: true };
  assert.equal((await runVerb(run, { positional: [SCRIPTED], args: replay })).code, 0);
  const [said, replayed] = await Promise.all([first, again].map(async (dir) => {
    await using records = await openRun(dir);
    return await records.query("SELECT policy, scenario_id, outcome, answer FROM rollouts ORDER BY 1, 2");
  }));
  assert.deepEqual(replayed, said);
  assert.ok(said!.some(({ policy, answer }) => policy === "large" && answer === "Done."));
});
