import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LIMITS } from "../../pipeline/audit/warnings.ts";
import { Store } from "../../pipeline/store/store.ts";
import audit from "../../runners/verbs/audit.ts";
import run from "../../runners/verbs/run.ts";
import { asking, type JudgedPipeline, judgedPipeline, scriptedStages } from "../fixtures/judged_pipeline.ts";
import { openaiStandIn } from "../fixtures/llm_endpoints.ts";
import { type Bias, startRuleJudge } from "../fixtures/rule_judge.ts";
import { runVerb } from "../fixtures/small_run.ts";

const STATE = { use: "judge/state" };
const WORDS = [
  "net",
  "oat",
  "pie",
  "rib",
  "ash",
  "bay",
  "elm",
  "fir",
  "fox",
  "hay",
  "ivy",
  "jay",
  "kid",
  "owl",
  "ram",
  "rye",
  "sea",
  "sky",
  "tin",
  "yew",
];
/** The first ones are for training. */
const TRAINED = 4;

/** A run of the scripted policy on many tasks, of which it solves some; judged by `judge/state`. */
async function recordedRun(judged: JudgedPipeline): Promise<string> {
  const scenarios = WORDS.flatMap((word, index) => {
    // A failing policy writes to `wrong-…`, whose result does not name the last of the quoted texts.
    const text =
      `Create the file "${word}.txt" with the text "${word} ${index}", which is reported as "to ${word}.txt".`;
    const task = { task: text, tags: ["write"] };
    const checks = [{ file: `${word}.txt`, equals: `${word} ${index}` }];
    const calls = [{ tool: "write_file", arguments: { path: `${word}.txt`, content: `${word} ${index}` } }];
    const solution = { calls, answer: "Done." };
    return [{ ...task, id: word, split: index < TRAINED ? "train" : "heldout", checks, solution }];
  });
  const path = join(judged.dir, "tasks.json");
  await writeFile(path, JSON.stringify(scenarios));
  const pipeline = await judged.write("many.yaml", {
    stages: await stagesWith([STATE], path),
    evaluate: { tries: 2, sampling: ["sampled"] },
  });
  const run_dir = join(judged.dir, "run");
  assert.equal((await runVerb(run, { positional: [pipeline], args: { run_dir, yes: true } })).code, 0);
  return run_dir;
}

async function stagesWith(judges: Record<string, unknown>[], path: string) {
  const source = { use: "scenario-source/file", with: { path } };
  return (await scriptedStages(judges)).map((stage) => stage.use === source.use ? source : stage);
}

/** Has somebody label every evaluation rollout with the opposite of its success. */
async function contradict(run_dir: string): Promise<void> {
  await using store = await Store.open(join(run_dir, "run.duckdb"), { run_id: "run", mode: "resume" });
  const rows = await store.query("SELECT rollout_id, success FROM rewards JOIN rollouts USING (rollout_id)");
  for (const [index, { rollout_id, success }] of rows.entries()) {
    const data = { rollout_id: String(rollout_id), score: success ? 0 : 1, reason: "" };
    const at = { seq: store.next_seq + index, at: 1, run_id: store.run_id, source: "label" };
    await store.append({ ...at, type: "label.given", data });
  }
}

async function audited(judged: JudgedPipeline, run_dir: string, judge: Record<string, unknown>, args = {}) {
  const pipeline = await judged.write("audited.yaml", {
    stages: await stagesWith([STATE, { id: "asked", ...judge }], join(judged.dir, "tasks.json")),
  });
  const { code, out } = await runVerb(audit, {
    positional: [run_dir],
    args: { pipeline, yes: true, ...args },
    format: "json",
  });
  assert.equal(code, 0);
  const result = JSON.parse(out[0]!);
  assert.deepEqual(audit.result.parse(result), result);
  return result;
}

Deno.test("audit catches each planted bias by its figure, and has no warning about an honest judge", async (t) => {
  await using judged = await judgedPipeline([STATE]);
  const run_dir = await recordedRun(judged);
  const priced = { input_per_million: 1, output_per_million: 10 };
  const ask = async (use: string, bias: Bias, args = {}) => {
    await using server = startRuleJudge(bias);
    const settings = { endpoint: { ...server.endpoint, price: priced }, strip_format: false };
    return { result: await audited(judged, run_dir, { use, with: settings }, args), sent: server.requests.length };
  };

  for (const use of ["judge/rubric", "judge/ruler"]) {
    await t.step(`${use}, honest`, async () => {
      await using server = startRuleJudge();
      const stage = { use, with: { endpoint: { ...server.endpoint, price: priced }, strip_format: false } };
      const first = await audited(judged, run_dir, stage);
      assert.deepEqual(first.warnings, []);
      assert.deepEqual(first.notes, []);
      assert.equal(first.agreement, 1);
      assert.equal(first.order_flip_rate, 0);
      assert.deepEqual(first.canaries, { empty: 0, confident_wrong: 0, decorated: 0, padded: 0 });
      const sent = server.requests.length;
      assert.ok(first.cost.requests === sent && first.cost.usd > 0);
      const again = await audited(judged, run_dir, stage);
      assert.equal(server.requests.length, sent);
      assert.deepEqual({ ...again, cost: null }, { ...first, cost: null });
      assert.deepEqual([again.cost.requests, again.cost.usd], [0, 0]);
    });
    await t.step(`${use}, swayed by formatting`, async () => {
      const { canaries, warnings } = (await ask(use, "formatting")).result;
      assert.ok(canaries.decorated > 0.4 && canaries.padded === 0, JSON.stringify(canaries));
      assert.match(warnings.join("\n"), /the judge rewards formatting/);
    });
    await t.step(`${use}, swayed by length`, async () => {
      const { canaries, warnings } = (await ask(use, "length")).result;
      assert.ok(canaries.padded > 0.4, JSON.stringify(canaries));
      assert.match(warnings.join("\n"), /the judge rewards length/);
    });
    await t.step(`${use}, swayed by confidence`, async () => {
      const { canaries, warnings } = (await ask(use, "confidence")).result;
      assert.ok(canaries.confident_wrong > 0.9 && canaries.empty === 0, JSON.stringify(canaries));
      assert.match(warnings.join("\n"), /the judge believes claims that no call supports/);
    });
    await t.step(`${use}, at random`, async () => {
      const { agreement, warnings } = (await ask(use, "random")).result;
      assert.ok(agreement < 0.8, String(agreement));
      assert.match(warnings.join("\n"), /The judge agrees with the checks/);
    });
  }
  await t.step("judge/ruler, swayed by the order", async () => {
    const { order_flip_rate, warnings } = (await ask("judge/ruler", "first")).result;
    assert.ok(order_flip_rate > LIMITS.order_flip_rate, String(order_flip_rate));
    assert.match(warnings.join("\n"), /where a rollout is shown decides part of its score/);
  });
  await t.step("an honest judge beside a biased one", async () => {
    await using other = startRuleJudge("length");
    const second = JSON.stringify({ base_url: other.endpoint.base_url, model: "other" });
    const { result } = await ask("judge/rubric", "none", { second });
    assert.ok(result.second_agreement < 0.8, String(result.second_agreement));
    assert.match(result.warnings.join("\n"), /^The judge agrees with the second judge on 0\.\d\d of \d+ /m);
  });
  await t.step("a judge that fails when the money is spent", async () => {
    const { result, sent } = await ask("judge/rubric", "none", { usd: 0.001 });
    assert.ok(sent < 60 && result.cost.usd < 0.01, `${sent} requests`);
    assert.match(
      result.warnings[0],
      /judgements are invalid, most often: judge failed: .*limits\.usd \(0\.001\) is used up/,
    );
  });
});

Deno.test("audit works with any judge, and says what it cannot measure", async () => {
  await using judged = await judgedPipeline([STATE]);
  const run_dir = await recordedRun(judged);
  // Decides by an observation, and is the check itself.
  const state = await runVerb(audit, { positional: [run_dir], args: { yes: true }, format: "json" });
  const said = JSON.parse(state.out[0]!);
  assert.deepEqual([said.judge, said.agreement, said.canaries.empty, said.cost.requests], ["state", null, null, 0]);
  assert.deepEqual(said.notes, [
    "no agreement with checks: no sampled rollout has both a judgement of this judge and a decision of checks",
    "no canaries: the judge reads an observation of the environment, of which they have none",
  ]);
  // People who say the opposite of what the checks say.
  await contradict(run_dir);
  await using honest = startRuleJudge();
  const labelled = await audited(judged, run_dir, { use: "judge/rubric", with: { endpoint: honest.endpoint } });
  assert.deepEqual([labelled.agreement, labelled.human_agreement], [1, 0]);
  assert.match(labelled.warnings.join("\n"), /^The judge agrees with people's labels on 0\.00 of \d+ /);
  // A second judge that never answers is not passed over.
  await using gone = openaiStandIn(() => "I had rather not say.");
  const settings = { use: "judge/rubric", with: { endpoint: honest.endpoint } };
  const alone = await audited(judged, run_dir, settings, { second: JSON.stringify(gone.endpoint) });
  assert.equal(alone.second_agreement, null);
  assert.deepEqual(alone.notes, ["no agreement with the second judge: no sampled rollout has a judgement of both"]);
  // A program.
  const program = join(import.meta.dirname!, "../fixtures/programs/judge.py");
  const { judge, warnings } = await audited(judged, run_dir, { use: `exec:${program}` }, { judge: "asked" });
  assert.equal(judge, "asked");
  assert.ok(Array.isArray(warnings));
});

Deno.test("audit asks before it sends anything, and refuses what it cannot audit", async () => {
  await using judged = await judgedPipeline([STATE]);
  const run_dir = await recordedRun(judged);
  await using endpoint = openaiStandIn(() => '{"points": 7}');
  const path = join(judged.dir, "tasks.json");
  const two = [{ ...asking(endpoint.endpoint.base_url), id: "a" }, {
    use: "judge/rubric",
    id: "b",
    with: { endpoint: endpoint.endpoint },
  }];
  const pipeline = await judged.write("two.yaml", { stages: await stagesWith([STATE, ...two], path) });
  const refused = (args: Record<string, unknown>, word = run_dir) =>
    runVerb(audit, { positional: [word], args: { pipeline, ...args } });
  await assert.rejects(refused({ yes: true, judge: "c" }), {
    message: 'Cannot audit judge "c": the pipeline has "state", "a", "b"',
    hint: "Name one, for example --judge state.",
  });
  await assert.rejects(refused({ yes: true, judge: "b", usd: 1 }), {
    message: 'Cannot ask model "judge-1": limits.usd is set, and the settings of its endpoint state no price',
  });
  await assert.rejects(refused({ yes: true, judge: "a", second: "{ model: m }" }), {
    code: "AUDIT_SECOND",
  });
  // Without a terminal nobody can be asked.
  await runVerb(audit, { positional: [run_dir], args: { pipeline, yes: true, judge: "a" } });
  await assert.rejects(refused({ judge: "b" }), {
    message: "Cannot send the requests listed above: they were not approved",
  });
  assert.deepEqual(endpoint.requests.filter(({ body }) => JSON.stringify(body).includes("criteria")), []);
});
