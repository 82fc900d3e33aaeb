/** Hosted training through the command line: a data set out, one job in, whatever interrupts it. @module */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { JsonObject } from "../../pipeline/events.ts";
import { openaiStandIn } from "../fixtures/llm_endpoints.ts";
import { type Ended, folder, hone, messages, ROOT, rows, settings, start, until } from "./hone_process.ts";

const HOSTED = join(ROOT, "tests/fixtures/scripted/hosted.yaml");

/** The scripted service in a folder, and what the command line is told of it. */
async function service(values: Record<string, unknown> = {}) {
  const dir = await folder();
  const judge = openaiStandIn(() => `{"points": 7}`);
  const [run_dir, jobs] = [join(dir.path, "run"), join(dir.path, "jobs")];
  const words = settings({
    "stages.service.with.jobs": jobs,
    "stages.asking.with.base_url": judge.endpoint.base_url,
    ...values,
  });
  return {
    run_dir,
    judge,
    start: () => start(["run", HOSTED, "--run-dir", run_dir, "--yes", ...words]),
    jobs: async (): Promise<Record<string, JsonObject>> => {
      const names = await readdir(jobs);
      const read = names.map(async (name) => [name, JSON.parse(await readFile(join(jobs, name), "utf8"))]);
      return Object.fromEntries(await Promise.all(read));
    },
    async [Symbol.asyncDispose]() {
      await judge[Symbol.asyncDispose]();
      await dir[Symbol.asyncDispose]();
    },
  };
}

async function assertTrained(run_dir: string, { code, err }: Ended) {
  assert.equal(code, 0, err);
  const steps = await rows(run_dir, "SELECT step, kind, checkpoint FROM train_steps ORDER BY step");
  assert.deepEqual(steps, [1, 2, 3].map((step) => ({ step, kind: "rl", checkpoint: `job-1:step-${step}` })));
  const verdict = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.deepEqual(verdict.policies.tuned.success.mean, 1);
  const published = "SELECT policy, model, checkpoint FROM policies";
  const checkpoint = "job-1:step-3";
  assert.deepEqual(await rows(run_dir, published), [{
    policy: "tuned",
    model: `hosted-model:${checkpoint}`,
    checkpoint,
  }]);
}

Deno.test("a hosted trainer is given data set and grader, and what it trains is measured", async () => {
  await using trained = await service();
  const { run_dir } = trained;
  await assertTrained(run_dir, await trained.start().ended);
  const jobs = await trained.jobs();
  assert.deepEqual(Object.keys(jobs), ["job-1.json"]);
  const { run_id, state, rows: lines, held, grader } = jobs["job-1.json"]!;
  assert.deepEqual([run_id, state, held], ["run", "done", null]);
  assert.deepEqual(Object.keys((grader as JsonObject).judges as JsonObject), ["asking"]);
  const set = String(lines).trim().split("\n").map((line) => JSON.parse(line));
  assert.equal(set.length, 4);
  assert.deepEqual(set[0].messages, [
    { role: "system", content: "Use the tools." },
    { role: "user", content: 'Create the file "oak.txt" with the text "dune".' },
  ]);
  assert.deepEqual(set[0].expected, { state: [{ file: "oak.txt", equals: "dune" }] });
  assert.deepEqual(set[0].tools.map((tool: JsonObject) => (tool.function as JsonObject).name), [
    "read_text_file",
    "write_file",
  ]);
  assert.match(await readFile(join(run_dir, "run.log"), "utf8"), /judge state has no grader/);
  const asked = await rows(run_dir, "SELECT count(*) AS n FROM judgements WHERE judge = 'asking' AND score = 0.7");
  assert.equal(Number(asked[0]!.n), 4);
  const causes = "SELECT DISTINCT made.type FROM events AS asked JOIN events AS made ON made.seq = asked.cause";
  assert.deepEqual(await rows(run_dir, `${causes} WHERE asked.type = 'llm.called'`), [{ type: "group.completed" }]);
  const { code, out, err } = await hone("evaluate", run_dir, "--policy", "tuned", "--tries", "2", "--yes");
  assert.equal(code, 0, err);
  assert.match(out, /tuned/);
  const refused = await hone("evaluate", run_dir, "--adapter", dirname(run_dir), "--yes");
  assert.equal(refused.code, 2);
  assert.match(
    refused.err,
    /^error\[ADAPTER_OF_HOSTED\] Cannot evaluate an adapter: the trainer of this pipeline is hosted/m,
  );
});

for (const [signal, log] of [["SIGINT", ["paused", "running"]], ["SIGKILL", ["running"]]] as const) {
  Deno.test(`a job goes on after ${signal}, and is not submitted again`, async () => {
    await using trained = await service({ "stages.service.with.step_secs": 1 });
    const { run_dir } = trained;
    const running = trained.start();
    await until(running, run_dir, "SELECT 1 FROM train_steps");
    running.kill(signal);
    const stopped = await running.ended;
    assert.equal(stopped.code, signal === "SIGINT" ? 130 : signal, stopped.err);
    assert.equal((await trained.jobs())["job-1.json"]!.state, signal === "SIGINT" ? "paused" : "running");
    await assertTrained(run_dir, await hone("resume", run_dir));
    const jobs = await trained.jobs();
    assert.deepEqual(Object.keys(jobs), ["job-1.json"]);
    assert.deepEqual([jobs["job-1.json"]!.state, jobs["job-1.json"]!.log], ["done", log]);
    const submitted = await rows(run_dir, "SELECT count(*) AS n FROM events WHERE type = 'job.submitted'");
    assert.equal(Number(submitted[0]!.n), 1);
  });
}

Deno.test("a job that fails ends the run with the service's reason, and another one goes on when it is resumed", async () => {
  await using trained = await service({ "stages.service.with.fails_at": 2 });
  const { run_dir } = trained;
  const { code, err } = await trained.start().ended;
  assert.equal(code, 4);
  assert.match(
    messages(err, run_dir),
    /error\[STAGE_FAILED\] Stage "service" \(\.\/hosted_trainer\.ts\) failed: job-1 failed: the grader refused every sample/,
  );
  const resumed = await hone("resume", run_dir);
  assert.equal(resumed.code, 0, resumed.err);
  assert.match(resumed.err, /job job-1 cannot go on: submitting another one/);
  const steps = await rows(run_dir, "SELECT step, checkpoint FROM train_steps ORDER BY step");
  assert.deepEqual(steps.map(({ step, checkpoint }) => `${step} ${checkpoint}`), [
    "1 job-1:step-1",
    "2 job-2:step-1",
    "3 job-2:step-2",
    "4 job-2:step-3",
  ]);
  const [tuned] = await rows(run_dir, "SELECT checkpoint FROM policies WHERE policy = 'tuned'");
  assert.equal(tuned!.checkpoint, "job-2:step-3");
});

Deno.test("limits.wall_clock_secs pauses a job, and measures the last checkpoint that it has", async () => {
  await using trained = await service({
    "stages.service.with.steps": 1000,
    "stages.service.with.step_secs": 0.5,
    "limits.wall_clock_secs": 12,
  });
  const { code, err } = await trained.start().ended;
  assert.equal(code, 0, err);
  const job = (await trained.jobs())["job-1.json"]!;
  assert.equal(job.state, "paused");
  const [policy] = await rows(trained.run_dir, "SELECT checkpoint FROM policies WHERE policy = 'tuned'");
  assert.equal(policy!.checkpoint, `job-1:step-${job.step}`);
  assert.match(
    err,
    /limits\.wall_clock_secs is reached: job job-1 is paused, its last checkpoint is job-1:step-/,
  );
});
