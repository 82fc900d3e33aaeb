import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openRun } from "../../pipeline/store/live_run.ts";
import type { Row } from "../../pipeline/store/store.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import rejudge from "../../runners/verbs/rejudge.ts";
import report from "../../runners/verbs/report.ts";
import resume from "../../runners/verbs/resume.ts";
import run from "../../runners/verbs/run.ts";
import { asking, judgedPipeline, scriptedStages } from "../fixtures/judged_pipeline.ts";
import { openaiStandIn } from "../fixtures/llm_endpoints.ts";
import { runVerb } from "../fixtures/small_run.ts";

const STATE = { use: "judge/state" };
const ROLLOUTS = "SELECT rollout_id, answer FROM rollouts ORDER BY seq";

async function rows(run_dir: string, sql: string): Promise<Row[]> {
  await using client = await openRun(run_dir);
  return await client.query(sql);
}

async function digestOf(run_dir: string): Promise<string> {
  return createHash("sha256").update(await readFile(join(run_dir, "run.duckdb"))).digest("hex");
}

Deno.test("a finished evaluation that is made again, and a judging with the same judges, send no request", async () => {
  await using endpoint = openaiStandIn(() => '{"points": 7}');
  await using judged = await judgedPipeline([STATE, asking(endpoint.endpoint.base_url)]);
  const first = join(judged.dir, "first");
  const measured = (run_dir: string) =>
    runVerb(evaluate, { positional: [judged.pipeline], args: { run_dir, yes: true }, format: "json" });
  assert.equal((await measured(first)).code, 0);
  const asked = endpoint.requests.length;
  assert.ok(asked > 0);
  assert.equal((await measured(join(judged.dir, "second"))).code, 0);
  const again = await runVerb(rejudge, { positional: [first], args: { yes: true }, format: "json" });
  assert.equal(again.code, 0);
  assert.equal(endpoint.requests.length, asked);
  const { run_dir } = JSON.parse(again.out[0]!);
  const calls = "SELECT DISTINCT cached, tries, outcome FROM llm_calls";
  assert.deepEqual(await rows(run_dir, calls), [{ cached: true, tries: 0, outcome: "ok" }]);
});

Deno.test("rejudge scores what a run recorded with other judges, in a folder of its own, without a rollout", async () => {
  await using endpoint = openaiStandIn(() => '{"points": 7}');
  await using judged = await judgedPipeline([STATE]);
  const run_dir = join(judged.dir, "runs/one");
  assert.equal((await runVerb(run, { positional: [judged.pipeline], args: { run_dir, yes: true } })).code, 0);
  const before = await digestOf(run_dir);
  const rewarded = "SELECT count(*) AS n FROM rewards WHERE invalid IS NULL";
  const [valid] = await rows(run_dir, rewarded);

  const weights = { state: 1, asking: 1 };
  const stages = await scriptedStages([STATE, asking(endpoint.endpoint.base_url)]);
  const weighted = stages.map((stage) =>
    stage.use === "reward-shaper/weighted" ? { ...stage, with: { weights } } : stage
  );
  const pipeline = await judged.write("other.yaml", {
    stages: weighted,
    // A server that cannot be started, and none is.
    servers: { files: { command: "false", args: ["${workdir}"], tools: ["write_file", "read_text_file"] } },
  });
  const { code, out } = await runVerb(rejudge, {
    positional: [run_dir],
    args: { pipeline, yes: true },
    format: "json",
  });
  assert.equal(code, 0);
  const result = JSON.parse(out[0]!);
  assert.equal(join(result.run_dir, ".."), join(judged.dir, "runs/rejudged"));
  assert.equal(await digestOf(run_dir), before);
  assert.deepEqual((await readdir(run_dir)).filter((name) => /lock|part|wal/.test(name)), []);

  const full = join(judged.dir, "cache");
  await assert.rejects(
    runVerb(rejudge, { positional: [run_dir], args: { pipeline, yes: true, run_dir: full } }),
    { code: "FOLDER_NOT_EMPTY" },
  );
  assert.deepEqual(await rows(result.run_dir, ROLLOUTS), await rows(run_dir, ROLLOUTS));
  assert.deepEqual(await rows(result.run_dir, rewarded), [valid]);
  assert.deepEqual(
    await rows(result.run_dir, "SELECT DISTINCT judge, reason FROM judgements WHERE judge = 'asking'"),
    [{ judge: "asking", reason: "7 of 10" }],
  );
  assert.deepEqual(
    await rows(
      result.run_dir,
      "SELECT DISTINCT (parts->>'asking')::DOUBLE AS part FROM rewards WHERE value IS NOT NULL",
    ),
    [{ part: 0.7 }],
  );
  const evaluations = "SELECT policy, split, mean, n, seconds FROM evaluations ORDER BY seq";
  assert.deepEqual(await rows(result.run_dir, evaluations), await rows(run_dir, evaluations));
  const verdict = JSON.parse(await readFile(join(result.run_dir, "verdict.json"), "utf8"));
  assert.deepEqual(
    verdict.policies.tuned.success,
    JSON.parse(
      await readFile(join(run_dir, "verdict.json"), "utf8"),
    ).policies.tuned.success,
  );
  assert.equal((await runVerb(report, { positional: [result.run_dir] })).code, 0);
  assert.equal((await rows(result.run_dir, "SELECT status FROM runs"))[0]!.status, "completed");
});

Deno.test("rejudge reads scenarios anew unless their task has changed, and says what was not observed", async () => {
  await using judged = await judgedPipeline([STATE]);
  const run_dir = join(judged.dir, "one");
  const tasks = join(judged.dir, "tasks.json");
  const scenario = (id: string, task: string, content: string) => ({
    id,
    split: "heldout",
    task: `Create the file "${id}.txt" with the text "${task}".`,
    checks: [{ file: `${id}.txt`, equals: content }],
  });
  await writeFile(tasks, JSON.stringify([scenario("oak", "dune", "dune"), scenario("elm", "frost", "frost")]));
  const source = { use: "scenario-source/file", with: { path: tasks } };
  const replaced = (stages: Record<string, unknown>[]) =>
    stages.map((stage) => stage.use === source.use ? source : stage);
  const plain = replaced(await scriptedStages([STATE]));
  const pipeline = await judged.write("tasks.yaml", { stages: plain, ladder: [], evaluate: { policies: ["base"] } });
  assert.equal((await runVerb(run, { positional: [pipeline], args: { run_dir, yes: true } })).code, 0);

  // The base policy never writes: nothing is there, which the first scenario's new check demands.
  await writeFile(
    tasks,
    JSON.stringify([
      { ...scenario("oak", "dune", "dune"), checks: [{ absent: "oak.txt" }] },
      scenario("elm", "x", "x"),
    ]),
  );
  const blind = { id: "blind", use: join(import.meta.dirname!, "../fixtures/scripted/blind_judge.ts") };
  const other = await judged.write("other.yaml", {
    stages: replaced(await scriptedStages([STATE, blind])),
    ladder: [],
  });
  const { code, out } = await runVerb(rejudge, {
    positional: [run_dir],
    args: { pipeline: other, yes: true },
    format: "json",
  });
  assert.equal(code, 0);
  const { run_dir: result } = JSON.parse(out[0]!);
  assert.match(
    await readFile(join(result, "run.log"), "utf8"),
    /1 scenario \("elm"\) had another task or setup when the rollouts attempted them: judged as they were then/,
  );
  const said =
    "SELECT scenario_id, judge, score, invalid FROM judgements JOIN rollouts USING (rollout_id) ORDER BY ALL";
  assert.deepEqual(await rows(result, said), [
    { scenario_id: "elm", judge: "blind", score: null, invalid: "nothing was seen" },
    { scenario_id: "elm", judge: "state", score: 0, invalid: null },
    { scenario_id: "oak", judge: "blind", score: null, invalid: "nothing was seen" },
    { scenario_id: "oak", judge: "state", score: 1, invalid: null },
  ]);
});

Deno.test("rejudge that is interrupted goes on where it was, judges only, and is not asked again", async () => {
  const stop = new AbortController();
  await using endpoint = openaiStandIn((_, index) => {
    if (index === 0) stop.abort();
    return index === 0 ? "hang" : '{"points": 7}';
  });
  await using judged = await judgedPipeline([STATE]);
  const run_dir = join(judged.dir, "one");
  assert.equal((await runVerb(run, { positional: [judged.pipeline], args: { run_dir, yes: true } })).code, 0);
  const pipeline = await judged.write("other.yaml", {
    stages: await scriptedStages([STATE, asking(endpoint.endpoint.base_url)]),
  });
  const copy = join(judged.dir, "copy");
  const args = { pipeline, yes: true, run_dir: copy };
  const { code } = await runVerb(rejudge, { positional: [run_dir], args, signal: stop.signal });
  assert.equal(code, 130);
  assert.deepEqual(await rows(copy, "SELECT status FROM runs"), [{ status: "interrupted" }]);
  const rolled_out = await rows(copy, "SELECT count(*) AS n FROM rollouts");
  assert.equal((await runVerb(resume, { positional: [copy], args: { yes: true } })).code, 0);
  assert.deepEqual(await rows(copy, "SELECT count(*) AS n FROM rollouts"), rolled_out);
  assert.deepEqual(await rows(copy, "SELECT count(*) AS n FROM rewards WHERE value IS NULL"), [{ n: 0 }]);
  assert.deepEqual(await rows(copy, "SELECT status FROM runs"), [{ status: "completed" }]);
  const sent = await rows(copy, "SELECT key FROM llm_calls WHERE outcome = 'ok' AND tries > 0");
  assert.equal(new Set(sent.map(({ key }) => key)).size, sent.length);
});
