/**
 * What the verdict and the report of a run of 10 000 rollouts cost: seconds, bytes, and the time until a browser has
 * loaded the page. Wanted: under 10 s and 20 MB. Run as a program: `deno run -A tests/bench/report_cost.ts`; it prints one
 * JSON object.
 * @module
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Bus } from "../../pipeline/bus.ts";
import { stream } from "../../pipeline/common/random.ts";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import type { RolloutRef } from "../../pipeline/events.ts";
import { Store } from "../../pipeline/store/store.ts";
import { fakeToolCall } from "../../pipeline/testing.ts";
import { makeVerdict, writeReports } from "../../pipeline/verdict/mod.ts";
import { launchBrowser } from "../report/browser.ts";
import { sampleRef, sampleTurn } from "./samples.ts";

const STEPS = 50;
const GROUPS = 10;
const GROUP = 10;
const SCENARIOS = 834;
const POLICIES = ["base", "warm_start", "tuned"];
const TOOLS = ["write_file", "read_text_file", "move_file", "create_directory"];

const random = stream(7, "report bench");
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;

function references(): RolloutRef[] {
  const refs: RolloutRef[] = [];
  for (let i = 0; i < STEPS * GROUPS * GROUP; i++) {
    const [step, group] = [1 + Math.floor(i / (GROUPS * GROUP)), Math.floor(i / GROUP)];
    const of = { group_id: `g${group}`, scenario_id: `train-${group % 200}`, step, policy: `step-${step}` };
    refs.push({ ...sampleRef(`train-${i}`), ...of, try: i % GROUP });
  }
  for (const policy of POLICIES) {
    for (let i = 0; i < 2 * SCENARIOS; i++) {
      const of = { purpose: "evaluation", split: "heldout", temperature: i % 2, step: -1 } as const;
      const scenario_id = `heldout-${i >> 1}`;
      refs.push({ ...sampleRef(`${policy}-${i}`), ...of, policy, scenario_id, group_id: `${policy}-${i}`, try: 0 });
    }
  }
  return refs;
}

/** Writes the run; not timed. */
async function record(store: Store): Promise<number> {
  const bus = new Bus("bench", store);
  const emit = (type: Parameters<Bus["publish"]>[1], data: unknown) =>
    void bus.publish("bench", type as "run.ended", data as { status: "completed" });
  emit("run.started", { name: "bench", seed: 7, hone_version: "0", resumed: false });
  for (const split of ["train", "heldout"] as const) {
    for (let i = 0; i < SCENARIOS; i++) {
      const solution = { calls: [{ tool: pick(TOOLS), arguments: {} }], answer: "Done." };
      const id = `${split}-${i}`;
      emit("scenario.produced", { id, split, task: `Task ${i}.`, tags: [`tag-${i % 20}`], checks: [], solution });
    }
  }
  const refs = references();
  for (const [i, ref] of refs.entries()) {
    const { rollout_id, group_id } = ref;
    const success = random() < 0.5;
    emit("rollout.requested", ref);
    for (let turn = 0; turn < 3; turn++) {
      emit("turn.completed", { rollout_id, turn: sampleTurn(turn, 400, 60) });
      emit("tool.called", { rollout_id, call: { ...fakeToolCall(pick(TOOLS)), turn } });
    }
    emit("rollout.completed", { ...ref, outcome: { end: "answered", answer: "Done." }, seconds: 2 });
    const reason = `${pick(["there is no file", "there is no folder", "wrong text in"])} "name-${i}"`;
    emit("judgement.made", { rollout_id, group_id, judge: "state", score: success ? 1 : random() * 0.9, reason });
    emit("reward.shaped", { rollout_id, group_id, success, value: success ? 1 : random(), parts: { state: 1 } });
    if (i % 500 === 0) await store.flush();
  }
  for (let step = 1; step <= STEPS; step++) {
    const metrics = { mismatch_abs: 1e-6, kl_base: 0.1 * step };
    const report = { kind: "rl", loss: random(), metrics, seconds: 20, checkpoint: `c${step}`, staleness: 0 };
    emit("train.stepped", { step, ...report });
  }
  emit("run.ended", { status: "completed" });
  await store.flush();
  return refs.length;
}

/** Seconds until the browser has loaded and laid out the page. */
async function loadSecs(file: string): Promise<number> {
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage();
    const began = performance.now();
    await page.goto(pathToFileURL(file).href, { waitUntil: "load" });
    await page.locator("footer").boundingBox();
    return (performance.now() - began) / 1000;
  } finally {
    await browser.close();
  }
}

if (import.meta.main) {
  const evaluate = { policies: POLICIES, sampling: ["greedy", "sampled"] };
  const config = pipeline_schema.parse({ name: "bench", stages: [{ use: "x" }], evaluate });
  const dir = await Deno.makeTempDir();
  try {
    await using store = await Store.open(join(dir, "run.duckdb"), { run_id: "bench", mode: "create" });
    const rollouts = await record(store);
    const began = performance.now();
    const verdict = await makeVerdict({ store, config });
    const judged = performance.now();
    const { html, markdown } = await writeReports(dir, store, verdict);
    const [verdict_secs, report_secs] = [judged - began, performance.now() - judged].map((ms) => ms / 1000);
    const [html_mb, markdown_mb] = [html, markdown].map((file) => Deno.statSync(file).size / 1e6);
    const figures = { verdict_secs, report_secs, html_mb, markdown_mb, load_secs: await loadSecs(html) };
    const rounded = Object.entries(figures).map(([key, value]) => [key, Number(value!.toPrecision(3))]);
    console.log(JSON.stringify({ name: "report", rollouts, ...Object.fromEntries(rounded) }));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
