/**
 * Which stages of the training loop work at the same time: a whole run through `runPipeline`, with stages that take fixed
 * times, at staleness 0 and 1. One group is rolled out at a time, so that judging a group can overlap with the rollouts of
 * the next. A step is the time from one policy to the next, the mean of all but the first two, which have nothing before them
 * to overlap with. Prints the seconds that the stages of one step take in sum, and those that a step takes.
 * Run: deno run -A tests/bench/overlap.ts [--format json] [--steps 6]
 * @module
 */
import { definePlugin, loadPipeline, type OnlineTrainer, openRun, type Plugin, runPipeline } from "@hone/hone";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { z } from "zod";
import { builtins } from "../../plugins/mod.ts";

const GROUPS = 4;
const [ROLLOUT_SECS, JUDGE_SECS, STEP_SECS] = [0.3, 0.2, 1];
const GROUP_SIZE = 2;

const common = {
  summary: "Takes a fixed time.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
};
const wait = (seconds: number, signal?: AbortSignal) => sleep(seconds * 1000, undefined, { signal });
const usage = { prompt_tokens: 3, output_tokens: 1, seconds: ROLLOUT_SECS };

const rollout: Plugin<"rollout"> = definePlugin({
  ...common,
  kind: "rollout",
  name: "timed",
  create: () => ({
    async *run({ seed, signal }) {
      await wait(ROLLOUT_SECS, signal);
      yield {
        type: "turn",
        index: 0,
        input: [],
        text: String(seed),
        tool_calls: [],
        finish_reason: "stop",
        prompt_token_ids: Int32Array.of(1, 2, 3),
        output_token_ids: Int32Array.of(seed % 2),
        logprobs: Float32Array.of(-0.5),
        ...usage,
      };
      return { end: "answered", answer: "" };
    },
  }),
});

const judge: Plugin<"judge"> = definePlugin({
  ...common,
  kind: "judge",
  name: "timed",
  create: () => ({
    scale: "absolute",
    decisive: true,
    async judge({ group, signal }) {
      await wait(JUDGE_SECS, signal);
      // Never all alike: a group without a difference teaches nothing and would be left out.
      return group.map((_, index) => ({ score: index % 2, reason: "" }));
    },
  }),
});

async function open(): Promise<OnlineTrainer> {
  const policy = (name: string, version: number) => ({
    name,
    version,
    base_url: "http://127.0.0.1:1/v1",
    model: "timed",
    tokens: "exact" as const,
    rollout_handles: false,
    tool_format: "json" as const,
    context_tokens: 4096,
    sampling: { temperature: 1, top_p: 1, max_tokens: 1 },
  });
  await Promise.resolve();
  return {
    base: policy("base", 0),
    model: { id: "timed" },
    demonstrate: () => Promise.resolve([]),
    supervise: () => {
      throw new Error("nothing here is supervised");
    },
    async *step({ step }) {
      yield { name: "timed", value: 1 };
      await wait(STEP_SECS);
      return { step, kind: "rl", loss: 0, metrics: {}, seconds: STEP_SECS };
    },
    publish: ({ name, version }) => Promise.resolve(policy(name, version)),
    save: (dir) => mkdir(dir, { recursive: true }).then(() => {}),
    weights: () => Promise.resolve({}),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const trainer: Plugin<"trainer"> = definePlugin({
  ...common,
  kind: "trainer",
  name: "timed",
  create: () => ({ mode: "online", open }),
});

const TIMED = {
  "rollout/timed": () => Promise.resolve({ default: rollout }),
  "judge/timed": () => Promise.resolve({ default: judge }),
  "trainer/timed": () => Promise.resolve({ default: trainer }),
};

/** Seconds of a step, the mean over a run. */
async function stepSecs(max_staleness: number, steps: number): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "hone-overlap-"));
  try {
    const splits = ["train", "heldout"].map((split) => ({ id: split, task: `Wait in ${split}.`, split }));
    await writeFile(join(dir, "scenarios.yaml"), JSON.stringify(splits));
    await writeFile(
      join(dir, "pipeline.yaml"),
      JSON.stringify({
        name: "overlap",
        model: "timed",
        stages: [
          { use: "scenario-source/file", with: { path: "./scenarios.yaml" } },
          { use: "rollout/timed" },
          { use: "judge/timed" },
          { use: "reward-shaper/weighted" },
          { use: "trainer/timed" },
        ],
        ladder: ["rl"],
        train: { steps, group_size: GROUP_SIZE, groups_per_step: GROUPS, concurrency: GROUP_SIZE, max_staleness },
        evaluate: { policies: ["base"] },
      }),
    );
    const loaded = await loadPipeline(join(dir, "pipeline.yaml"), { builtins: { ...builtins, ...TIMED } });
    const run_dir = join(dir, "run");
    const { status, error } = await runPipeline(loaded, { run_dir, signal: new AbortController().signal });
    if (status !== "completed") throw error ?? new Error(`the run ended as ${status}`);
    await using run = await openRun(run_dir);
    const rows = await run.query(
      `SELECT epoch_ms(recorded_at) AS "at" FROM policies WHERE policy LIKE 'step-%' ORDER BY seq`,
    );
    const at = rows.map((row) => Number(row.at)).slice(1);
    return (at.at(-1)! - at[0]!) / (at.length - 1) / 1000;
  } finally {
    await rm(dir, { recursive: true });
  }
}

const { values: { format, steps } } = parseArgs({
  options: { format: { type: "string", default: "text" }, steps: { type: "string", default: "6" } },
});
const rounded = (seconds: number) => Number(seconds.toFixed(3));
const stages = {
  rollout_secs: rounded(GROUPS * ROLLOUT_SECS),
  judge_secs: rounded(GROUPS * JUDGE_SECS),
  train_secs: STEP_SECS,
};
const result = {
  stages,
  staleness_0_step_secs: rounded(await stepSecs(0, Number(steps))),
  staleness_1_step_secs: rounded(await stepSecs(1, Number(steps))),
};
if (format === "json") console.log(JSON.stringify(result));
else {
  const slowest = Math.max(...Object.values(stages));
  const sum = Object.values(stages).reduce((total, secs) => total + secs, 0);
  console.table({ ...stages, "all of them": rounded(sum), slowest });
  console.log(
    `staleness 0: ${result.staleness_0_step_secs} s a step, ${rounded(result.staleness_0_step_secs / sum)} × all`,
  );
  console.log(
    `staleness 1: ${result.staleness_1_step_secs} s a step, ${
      rounded(result.staleness_1_step_secs / slowest)
    } × the slowest`,
  );
}
