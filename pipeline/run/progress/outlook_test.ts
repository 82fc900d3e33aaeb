import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { builtins } from "../../../plugins/mod.ts";
import { examinePipeline, type LoadedPipeline } from "../../config/pipeline_file.ts";
import type { Builtins } from "../../loader.ts";
import type { Roles } from "../../plugin.ts";
import type { Row, Store } from "../../store/store.ts";
import { keepSpeeds } from "./earlier_speeds.ts";
import type { Phase } from "./forecast.ts";
import { outlook } from "./outlook.ts";
import { Progress } from "./progress.ts";

const SCENARIOS = [
  ...["a", "b", "a"].map((tag, i) => ({ id: `t${i}`, tags: [tag], solution: { calls: [] } })),
  { id: "v", split: "validation" },
  ...[0, 1].map((i) => ({ id: `h${i}`, split: "heldout" })),
].map((one) => ({ task: `Write ${one.id}.`, checks: [{ file: "a" }], ...one }));

const TRAINED = `warm_start: { batch_size: 2 }
train: { steps: 4, groups_per_step: 3, group_size: 5, validate_every: 2 }
`;

const common = { summary: "For a test.", config: z.strictObject({}), examples: [] };
/** Built-in plugins, and kinds of roles that none of them has. */
const given: Builtins = {
  ...builtins,
  "judge/best": () => Promise.resolve({ default: { ...common, kind: "judge", name: "best", create: relative } }),
  "judge/graded": () => Promise.resolve({ default: { ...common, kind: "judge", name: "graded", create: graded } }),
  "trainer/service": () =>
    Promise.resolve({ default: { ...common, kind: "trainer", name: "service", create: hosted } }),
};
const relative = () => ({ scale: "relative", decisive: false, judge: () => [] } as Roles["judge"]);
const graded = () => ({ scale: "absolute", decisive: true, judge: () => [], toGrader: () => ({}) } as Roles["judge"]);
const hosted = () => ({ mode: "hosted", open: () => Promise.reject(new Error("no service")) } as Roles["trainer"]);

/** A pipeline in a folder with a cache of its own. */
async function pipeline(name: string, changes = "", stages = ["judge/state", "trainer/mlx"], validation_scenarios = 0) {
  const made = await mkdtemp(join(tmpdir(), "hone-outlook-"));
  await writeFile(join(made, "s.json"), JSON.stringify(SCENARIOS));
  await writeFile(join(made, "p.yaml"), "");
  const text = `name: ${name}
model: nobody/has-run-this
servers: { files: { command: npx } }
stages:
  - use: discoverer/mcp
  - { use: scenario-source/file, with: { path: ./s.json } }
  - use: rollout/chat
  - use: reward-shaper/weighted
${stages.map((use) => `  - use: ${use}`).join("\n")}
evaluate: { tries: 2, validation_scenarios: ${validation_scenarios} }
${changes}`;
  const { loaded, diagnostics } = await examinePipeline(text, join(made, "p.yaml"), { builtins: given });
  assert.ok(loaded, JSON.stringify(diagnostics));
  return {
    dir: made,
    loaded,
    outlook: () => outlook(loaded, join(made, "cache")),
    [Symbol.asyncDispose]: () => rm(made, { recursive: true }),
  };
}

/** What a run of the pipeline leaves in the cache: each rollout took a second, each step five. */
async function ran(
  { config }: LoadedPipeline,
  dir: string,
  kinds: Phase["kind"][],
  { llm = [] as Row[], cache = "cache" } = {},
) {
  let now = 0;
  const progress = new Progress(() => {}, () => now);
  const units = 2;
  progress.plan(kinds.map((kind): Phase => ({ name: kind, kind, units, counts: counts(kind) })));
  for (const kind of kinds) {
    progress.begin(kind, units);
    for (let i = 0; i < units; i++) {
      now += counts(kind) === "rollouts" ? 1 : 5;
      if (counts(kind) === "rollouts") progress.judged(true);
      else progress.stepped();
    }
  }
  const store = { query: () => Promise.resolve(llm) } as unknown as Store;
  const run_dir = join(dir, `run-of-${config.name}`);
  await keepSpeeds({ config, progress, store, run_dir, log: silent }, join(dir, cache));
}

const silent = { debug: () => {}, info: () => {}, warn: () => {} };
const counts = (kind: Phase["kind"]) => kind === "rollout" || kind === "replay" ? "rollouts" : "steps";

Deno.test("outlook() has scenarios by split and tag, the phases of the ladder, and a call of each judge per group", async () => {
  await using made = await pipeline("mine", TRAINED);
  assert.deepEqual(await made.outlook(), {
    scenarios: [
      { split: "train", count: 3, tags: { a: 2, b: 1 } },
      { split: "validation", count: 1, tags: {} },
      { split: "heldout", count: 2, tags: {} },
    ],
    phases: [
      { name: "evaluate base greedy", groups: 2, rollouts: 4, steps: 0 },
      { name: "replay", groups: 3, rollouts: 3, steps: 0 },
      { name: "warm start", groups: 0, rollouts: 0, steps: 2 },
      { name: "evaluate warm_start greedy", groups: 2, rollouts: 4, steps: 0 },
      { name: "rl", groups: 12, rollouts: 60, steps: 4 },
      { name: "validation", groups: 2, rollouts: 2, steps: 0 },
      { name: "evaluate tuned greedy", groups: 2, rollouts: 4, steps: 0 },
    ],
    judges: [{ stage: "state", calls: 23, llm_calls: null }],
    time: null,
    warnings: [
      'split "heldout" has 2 scenarios, too few for the verdict to support any claim: at least 6 are needed, and more if ' +
      "the gain is not large",
    ],
  });
});

Deno.test("outlook() counts the evaluations on validation beside the verdict's split", async () => {
  await using made = await pipeline("mine", TRAINED, undefined, 9);
  const { phases, judges } = await made.outlook();
  assert.deepEqual(phases!.filter(({ name }) => name.includes(" on ")), [
    { name: "evaluate warm_start on validation greedy", groups: 1, rollouts: 1, steps: 0 },
    { name: "evaluate tuned on validation greedy", groups: 1, rollouts: 1, steps: 0 },
  ]);
  assert.equal(judges[0]!.calls, 25);
});

Deno.test("outlook() estimates from the last run of the pipeline, or else of another one with its model", async () => {
  await using mine = await pipeline("mine", TRAINED + "ladder: [warm_start]");
  await using other = await pipeline("other", TRAINED + "ladder: [warm_start]");
  await ran(other.loaded, mine.dir, ["rollout", "replay", "supervised"]);
  const { time } = await mine.outlook();
  assert.deepEqual([time!.from.pipeline, time!.from.run], ["other", "run-of-other"]);
  // 8 rollouts and 3 replays of a second, 2 steps of 5 s, 2 s for the verdict.
  assert.equal(Math.round(time!.seconds), 8 + 3 + 10 + 2);
  await ran(mine.loaded, mine.dir, ["rollout"]);
  assert.equal((await mine.outlook()).time, null, "the last run of this pipeline trained nothing");
  await ran(mine.loaded, mine.dir, ["replay", "supervised"]);
  assert.equal((await mine.outlook()).time!.from.pipeline, "mine", "what its runs measured is put together");
});

Deno.test("outlook() scales a step's speed with its rollouts, and keeps to the run's time limit", async () => {
  await using small = await pipeline("mine", TRAINED);
  await ran(small.loaded, small.dir, ["rollout", "replay", "supervised", "rl"]);
  const seconds = async ({ outlook }: typeof small) => Math.round((await outlook()).time!.seconds);
  // 12 rollouts and 3 replays, 2 supervised steps and 4 of RL, 2 validations, the verdict.
  assert.equal(await seconds(small), 12 + 3 + 10 + 20 + 2 + 2);
  const write = (changes: string) => pipeline("mine", TRAINED + changes);
  await using large = await write("limits: { wall_clock_secs: 40 }");
  large.loaded.config.train.group_size = 50;
  const there = { ...large, outlook: () => outlook(large.loaded, join(small.dir, "cache")) };
  assert.equal(await seconds(there), 40);
  delete large.loaded.config.limits.wall_clock_secs;
  assert.equal(await seconds(there), 12 + 3 + 10 + 200 + 2 + 2);
});

Deno.test("outlook() asks a relative judge in training only", async () => {
  await using mine = await pipeline("mine", TRAINED, ["judge/state", "judge/best", "trainer/mlx"]);
  const { judges } = await mine.outlook();
  assert.deepEqual(judges.map(({ stage, calls }) => [stage, calls]), [["state", 23], ["best", 12]]);
});

Deno.test("outlook() leaves the duration of a hosted trainer's job open", async () => {
  await using mine = await pipeline("mine", "", ["judge/graded", "trainer/service"]);
  await ran(mine.loaded, mine.dir, ["rollout"]);
  const { phases, time } = await mine.outlook();
  assert.deepEqual(phases!.map(({ name }) => name), ["evaluate base greedy", "job", "evaluate tuned greedy"]);
  assert.equal(time, null);
});

Deno.test("outlook() takes the rate of language-model requests from the earlier run", async () => {
  await using mine = await pipeline("mine", "ladder: []");
  await ran(mine.loaded, mine.dir, ["rollout"], { llm: [{ stage: "state", rate: 2.5 }] });
  const { judges, time } = await mine.outlook();
  assert.deepEqual(judges, [{ stage: "state", calls: 2, llm_calls: 5 }]);
  assert.equal(Math.round(time!.seconds), 4 + 2);
});

Deno.test("keepSpeeds() lets a run complete whose cache cannot be written", async () => {
  await using mine = await pipeline("mine", "ladder: []");
  await ran(mine.loaded, mine.dir, ["rollout"], { cache: "p.yaml" });
});

Deno.test("keepSpeeds() bounds the cache, and damaged files in it count for nothing", async () => {
  await using mine = await pipeline("mine", "ladder: []");
  const folder = join(mine.dir, "cache", "speeds");
  await mkdir(folder, { recursive: true });
  for (let i = 0; i < 205; i++) {
    await writeFile(join(folder, `${i}.json`), "{");
    await utimes(join(folder, `${i}.json`), 1000 + i, 1000 + i);
  }
  await ran(mine.loaded, mine.dir, ["rollout"]);
  const names = await readdir(folder);
  assert.equal(names.length, 200);
  assert.ok(!names.includes("0.json"));
  const own = names.find((name) => name.includes("-"))!;
  assert.deepEqual(Object.keys(JSON.parse(await readFile(join(folder, own), "utf8"))), [
    "schema",
    "pipeline",
    "run",
    "at",
    "opening_secs",
    "seconds",
    "llm_calls",
  ]);
  await writeFile(join(folder, own), '{"schema":"speeds.v1"');
  assert.equal((await mine.outlook()).time, null);
});
