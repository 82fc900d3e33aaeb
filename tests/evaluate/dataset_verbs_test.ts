import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import evalVerb from "../../runners/verbs/eval.ts";
import train from "../../runners/verbs/train.ts";
import { openaiStandIn } from "../fixtures/llm_endpoints.ts";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { hasDriver } from "../../pipeline/program/cuda_devices.ts";
import { ownEnv } from "../fixtures/own_env.ts";
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
    assert.deepEqual([written.name, written.ladder, written.stages.slice(-2)], [
      "train-tasks",
      ladder,
      [{ use: "trainer/mlx" }, { id: "final", use: "exporter/adapter" }],
    ]);
  }
});

/** A machine whose `nvidia-smi` lists so many GPUs; undefined: it has none, and no driver's tool. */
async function machineWith(gpus: number | undefined, bin: string): Promise<Disposable> {
  await mkdir(bin);
  if (gpus !== undefined) {
    const script = `#!/bin/sh\n${"echo NVIDIA H100 80GB HBM3, 81559\n".repeat(gpus)}`;
    await writeFile(join(bin, "nvidia-smi"), script, { mode: 0o755 });
  }
  return ownEnv({ PATH: gpus === undefined ? bin : `${bin}:${Deno.env.get("PATH")}` });
}

Deno.test("train uses trainer/lightning on as many GPUs as it is told to", async () => {
  await using home = await folder();
  using _machine = await machineWith(2, join(home.path, "bin"));
  const dataset = join(home.path, "tasks.json");
  // Refused when the pipeline is loaded: nothing is trained here.
  await writeFile(dataset, JSON.stringify([{ task: "Say a.", unknown: 1 }]));
  const args = { base_model: "smollm2-135m", dataset, yes: true, output_dir: join(home.path, "out") };
  await assert.rejects(runVerb(train, { args: { ...args, num_gpus: 2 } }));
  const { stages } = parse(await readFile(join(home.path, "out.yaml"), "utf8"));
  assert.deepEqual(stages.slice(-2), [
    { use: "trainer/lightning", with: { devices: 2 } },
    { id: "final", use: "exporter/adapter" },
  ]);
  await assert.rejects(runVerb(train, { args: { ...args, num_gpus: 3, output_dir: join(home.path, "other") } }), {
    code: "NO_GPU",
    message: "Cannot train on 3 GPUs: this machine has 2",
    hint: "Give --num-gpus 2 or less.",
  });
});

Deno.test({
  name: "train says that there is no GPU, and what to do without one, before it writes anything",
  ignore: hasDriver(),
  async fn() {
    await using home = await folder();
    const dataset = join(home.path, "tasks.json");
    await writeFile(dataset, JSON.stringify([{ task: "Say a." }]));
    using _machine = await machineWith(undefined, join(home.path, "bin"));
    const args = { base_model: "smollm2-135m", dataset, yes: true, output_dir: join(home.path, "out"), num_gpus: 1 };
    await assert.rejects(runVerb(train, { args }), {
      code: "NO_GPU",
      message: "Cannot train on 1 GPU: this machine has no NVIDIA GPU (nvidia-smi)",
      hint: "Leave --num-gpus out: trainer/mlx uses this machine's CPU, or Metal on a Mac.",
    });
    assert.deepEqual([...Deno.readDirSync(home.path)].map(({ name }) => name).sort(), ["bin", "tasks.json"]);
  },
});
