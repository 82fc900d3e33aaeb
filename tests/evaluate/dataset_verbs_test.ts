import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import evalVerb from "../../runners/verbs/eval.ts";
import train from "../../runners/verbs/train.ts";
import { openaiStandIn } from "../fixtures/llm_endpoints.ts";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { folder } from "../runs/hone_process.ts";

Deno.test("eval writes the pipeline of a model and a dataset, says where, and runs it", async () => {
  await using home = await folder();
  await using model = scriptedEndpoint(() => "yes");
  const scores = (score: number) => ({ reason: "It says so.", score });
  await using judge = openaiStandIn(({ body }) =>
    JSON.stringify({
      goal: scores(JSON.stringify(body.messages).includes("Say yes") ? 1 : 0),
      honest: scores(1),
      economical: scores(1),
    })
  );
  // The bare form of other systems, beside scenarios with checks.
  const dataset = join(home.path, "my tasks.json");
  await writeFile(dataset, JSON.stringify([{ task: "Say yes." }, { task: "Say no.", answer: { equals: "no" } }]));
  const output_dir = join(home.path, "out");
  const args = {
    model: "scripted",
    base_url: model.policy.base_url,
    dataset,
    split: "test",
    judge_model: judge.endpoint.model,
    judge_base_url: judge.endpoint.base_url,
    output_dir,
    set: ["agent.endpoint.context_tokens=4096"],
    yes: true,
  };
  const { code, out, err } = await runVerb(evalVerb, { args, format: "json" });
  assert.equal(code, 0, [...out, ...err].join("\n"));
  const { verdict, run_dir } = JSON.parse(out[0]!);
  assert.deepEqual([run_dir, verdict.split, verdict.policies.base.success.n], [output_dir, "heldout", 2]);
  assert.equal(verdict.policies.base.success.mean, 0.5);
  assert.match(err.join("\n"), /^pipeline: \S*out\.yaml \(`hone run \S*out\.yaml` runs it again\)$/m);
  const written = parse(await readFile(`${output_dir}.yaml`, "utf8"));
  assert.deepEqual(written, {
    name: "eval-my-tasks",
    agent: { endpoint: { base_url: model.policy.base_url, model: "scripted" } },
    stages: [
      { use: "scenario-source/file", with: { path: "./my tasks.json", split: "heldout" } },
      { use: "rollout/chat" },
      { use: "judge/answer" },
      {
        use: "judge/rubric",
        with: { endpoint: { base_url: judge.endpoint.base_url, model: judge.endpoint.model }, decisive: true },
      },
      { use: "reward-shaper/weighted" },
    ],
    ladder: [],
    evaluate: { policies: ["base"], split: "heldout", tries: 1 },
  });
  await assert.rejects(runVerb(evalVerb, { args }), {
    message: `Cannot start a run in ${JSON.stringify(output_dir)}: a run already exists there`,
  });
});

Deno.test("eval and train say what they cannot do before they write anything", async () => {
  await using home = await folder();
  const dataset = join(home.path, "tasks.json");
  await writeFile(dataset, "[]");
  const output_dir = join(home.path, "out");
  const cases: [typeof train | typeof evalVerb, Record<string, unknown>, string][] = [
    [train, { base_model: "smollm2-135m", num_gpus: 2 }, "Cannot train on 2 GPUs: hone has no trainer for CUDA yet"],
    [
      evalVerb,
      { model: "http://127.0.0.1:1/v1" },
      'Cannot use "http://127.0.0.1:1/v1" for --model: expected the name of a model',
    ],
    [
      evalVerb,
      { model: "m", servers: "a.json", mcp_url: "http://127.0.0.1:1" },
      "Cannot use both --servers and --mcp-url",
    ],
  ];
  for (const [verb, args, message] of cases) {
    await assert.rejects(runVerb(verb, { args: { ...args, dataset, output_dir, yes: true } }), { message });
  }
  assert.deepEqual([...Deno.readDirSync(home.path)].map(({ name }) => name), ["tasks.json"]);
});

Deno.test("train writes a pipeline with the rungs that the dataset allows", async () => {
  await using home = await folder();
  const dataset = join(home.path, "tasks.json");
  const task = (id: string, split: string) => ({ id, split, task: `Say ${id}.`, answer: { equals: id } });
  const solved = { ...task("a", "train"), solution: { calls: [], answer: "a" } };
  for (
    const [name, train_task, ladder] of [["with", solved, ["warm_start", "rl"]], ["without", task("a", "train"), [
      "rl",
    ]]] as const
  ) {
    await writeFile(dataset, JSON.stringify([train_task, task("b", "heldout")]));
    const args = { base_model: join(home.path, "no-model"), dataset, output_dir: join(home.path, name), yes: true };
    const { code } = await runVerb(train, { args });
    assert.notEqual(code, 0);
    const written = parse(await readFile(join(home.path, `${name}.yaml`), "utf8"));
    assert.deepEqual([written.name, written.ladder, written.stages.at(-1)], [
      "train-tasks",
      ladder,
      { use: "exporter/adapter" },
    ]);
  }
});
