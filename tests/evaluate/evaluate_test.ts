import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { openRun } from "../../pipeline/store/live_run.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import { runVerb } from "../fixtures/small_run.ts";
import resume from "../../runners/verbs/resume.ts";
import run from "../../runners/verbs/run.ts";
import { TEST_SERVER } from "../fixtures/test_pool.ts";
import { folder, hone } from "../runs/hone_process.ts";

const PIPELINE = resolve(import.meta.dirname!, "../fixtures/scripted/pipeline.yaml");

Deno.test("evaluate measures a run's published checkpoint and compares it with what the run measured", async () => {
  const home = await mkdtemp(join(tmpdir(), "hone-evaluate-"));
  try {
    const run_dir = join(home, "one");
    const set = ["train.steps=1"];
    assert.equal((await runVerb(run, { positional: [PIPELINE], args: { run_dir, set, yes: true } })).code, 0);

    const tuned = await runVerb(evaluate, { positional: [run_dir], args: { yes: true }, format: "json" });
    assert.equal(tuned.code, 0);
    const result = JSON.parse(tuned.out[0]!);
    assert.deepEqual([result.policy, result.split, result.sampling], ["tuned", "heldout", "greedy"]);
    assert.equal(result.success.n, 2);
    const names = result.differences.map(({ against }: { against: string }) => against).sort();
    assert.deepEqual(names, ["base", "tuned", "warm_start"]);
    assert.equal(result.differences.find(({ against }: { against: string }) => against === "tuned").mean, 0);
    assert.ok(existsSync(join(result.run_dir, "verdict.json")) && !existsSync(join(result.run_dir, "adapter")));
    assert.equal((await readdir(join(home, "evaluations"))).length, 1);

    const [checkpoint] = await readdir(join(run_dir, "checkpoints"));
    const text = await runVerb(evaluate, {
      positional: [PIPELINE],
      args: {
        checkpoint: join(run_dir, "checkpoints", checkpoint!),
        tries: 2,
        sampling: "sampled",
        set: ["agent.temperature=0.5"],
        run_dir: join(home, "two"),
        yes: true,
      },
    });
    assert.match(text.out[0]!, /^tuned on heldout, sampled: \d\.\d\d \(95 % interval .*, n 4\)$/m);
    {
      await using two = await openRun(join(home, "two"));
      assert.deepEqual(await two.query("SELECT DISTINCT temperature FROM rollouts"), [{ temperature: 0.5 }]);
    }
    const again = await runVerb(resume, { positional: [join(home, "two")], args: { yes: true }, format: "json" });
    assert.deepEqual([again.code, JSON.parse(again.out[0]!).status], [0, "completed"]);
    await assert.rejects(
      runVerb(evaluate, { positional: [PIPELINE], args: { policy: "warm_start" } }),
      { message: 'Cannot evaluate "warm_start": a pipeline file has no trained weights' },
    );
  } finally {
    await rm(home, { recursive: true });
  }
});

Deno.test("hone evaluate fails when no valid judgement, and keeps a key that an endpoint repeats", async () => {
  await using home = await folder();
  await using endpoint = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    return new Response(`no such key: ${request.headers.get("authorization")}`, { status: 401 });
  });
  const pipeline = {
    name: "refused",
    ladder: [],
    servers: { it: { command: "deno", args: ["run", "-A", TEST_SERVER] } },
    agent: {
      endpoint: {
        base_url: `http://127.0.0.1:${endpoint.addr.port}/v1`,
        model: "m",
        headers: { Authorization: "Bearer s3cr3t-of-an-endpoint" },
      },
    },
    stages: [
      { use: "discoverer/mcp" },
      { use: "scenario-source/file", with: { path: "./tasks.yaml" } },
      { use: "rollout/chat" },
      { use: "judge/state" },
      { use: "reward-shaper/weighted" },
    ],
  };
  await writeFile(join(home.path, "pipeline.yaml"), JSON.stringify(pipeline));
  const task = { id: "one", split: "heldout", task: "Write.", checks: [{ file: "a.txt" }] };
  await writeFile(join(home.path, "tasks.yaml"), JSON.stringify([task]));
  const run_dir = join(home.path, "run");
  const { code, out } = await hone("evaluate", join(home.path, "pipeline.yaml"), "--yes", "--run-dir", run_dir);
  assert.equal(code, 1, out);
  assert.equal(out.split("\n")[0], "base on heldout, greedy: no valid judgement");
  assert.match(out, /answered 401: no such key: Bearer \[redacted\]: 1\)/);
  assert(!(await readFile(join(run_dir, "report.html"), "utf8")).includes("s3cr3t-of-an-endpoint"));
});

Deno.test("evaluate.concurrency bounds the rollouts in flight while a policy is measured", async () => {
  await using home = await folder();
  let [asking, most] = [0, 0];
  await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async () => {
    most = Math.max(most, ++asking);
    await new Promise((resolve) => setTimeout(resolve, 20));
    asking--;
    const message = { role: "assistant", content: "yes" };
    return Response.json({ choices: [{ index: 0, finish_reason: "stop", message }] });
  });
  const base_url = `http://127.0.0.1:${server.addr.port}/v1`;
  const pipeline = {
    name: "bounded",
    agent: { endpoint: { base_url, model: "m", context_tokens: 4096 } },
    stages: [
      { use: "scenario-source/file", with: { path: "./tasks.yaml" } },
      { use: "rollout/chat" },
      { use: "judge/answer" },
      { use: "reward-shaper/weighted" },
    ],
    evaluate: { policies: ["base"], tries: 3, concurrency: 2 },
  };
  await writeFile(join(home.path, "pipeline.yaml"), JSON.stringify(pipeline));
  const tasks = ["a", "b", "c"].map((id) => ({ id, split: "heldout", task: "Say yes.", answer: { equals: "yes" } }));
  await writeFile(join(home.path, "tasks.yaml"), JSON.stringify(tasks));
  const args = { run_dir: join(home.path, "run"), yes: true };
  const { code, out } = await runVerb(evaluate, { positional: [join(home.path, "pipeline.yaml")], args });
  assert.deepEqual([code, out[0]!.split(" (")[0], most], [0, "base on heldout, greedy: 1.00", 2]);
});
