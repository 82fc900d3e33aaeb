/** What plugins that misbehave do to a run: it ends, says which one it was, and loses nothing. @module */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Scenario, Trajectory } from "../../pipeline/events.ts";
import type { HostedTrainer, Roles } from "../../pipeline/plugin.ts";
import {
  alternating,
  answering,
  type GivenRoles,
  onlineTrainer,
  pluginRun,
  scenarios,
  stoppedAt,
} from "../fixtures/plugin_run.ts";
import { silentPolicy } from "../fixtures/plugin_run.ts";

const SMALL = {
  ladder: ["rl"],
  train: { steps: 2, group_size: 2, groups_per_step: 2 },
  evaluate: { policies: ["base"] },
};
const MEASURED = { ladder: [], evaluate: { policies: ["base"] } };
const never = () => new Promise<never>(() => {});

Deno.test("the checkpoint that validation chose is kept when the run is resumed", async () => {
  const solves = ({ policy }: Trajectory) => policy === "step-2";
  const judge: Roles["judge"] = {
    ...alternating,
    judge: ({ group }) =>
      group.map((one, index) => ({ score: one.purpose === "train" ? index % 2 : solves(one) ? 1 : 0, reason: "" })),
  };
  const train = { steps: 6, group_size: 2, groups_per_step: 2, validate_every: 2 };
  for (const split of ["heldout", "validation"]) {
    const source = { produce: () => scenarios(4, 2, 3) };
    const evaluate = { policies: ["base", "tuned"], split };
    await using run = await pluginRun({ source, judges: { judge } }, { ladder: ["rl"], train, evaluate });
    assert.equal((await run.start(stoppedAt("batch.ready", 4))).status, "interrupted");
    assert.equal((await run.start({ resume: true })).status, "completed");
    const [tuned] = await run.rows("SELECT checkpoint FROM policies WHERE policy = 'tuned'");
    assert.equal(tuned!.checkpoint, "rl-00002", split);
  }
});

Deno.test("a run that fails at its start deletes its own records, and nothing that somebody else put there", async () => {
  const source: Roles["scenario-source"] = {
    produce() {
      throw new Error("no scenarios today");
    },
  };
  await using run = await pluginRun({ source });
  const failed = async () => {
    const { status, kept } = await run.start();
    assert.deepEqual([status, kept], ["failed", false]);
  };
  await failed();
  assert.equal(existsSync(run.run_dir), false);
  source.produce = () => {
    mkdirSync(join(run.run_dir, "thesis"));
    writeFileSync(join(run.run_dir, "thesis/chapter.tex"), "years of work");
    throw new Error("no scenarios today");
  };
  await failed();
  assert.deepEqual(await readdir(run.run_dir), ["thesis"]);
  assert.deepEqual(await readdir(join(run.run_dir, "thesis")), ["chapter.tex"]);
});

Deno.test("a group in which nothing can be judged passes judges that are still busy", async () => {
  const rollout: Roles["rollout"] = {
    async *run(args) {
      if (Number(args.scenario.id.split("-")[1]) % 3 === 0) throw new Error("no luck");
      return yield* answering.run(args);
    },
  };
  const judge: Roles["judge"] = { ...alternating, judge: async (args) => (await sleep(20), alternating.judge(args)) };
  const source = { produce: () => scenarios(0, 40) };
  const settings = { ...MEASURED, train: { concurrency: 2 } };
  await using run = await pluginRun({ source, rollout, judges: { judge }, trainer: null }, settings);
  assert.equal((await run.start()).status, "completed");
  const [{ n }] = await run.rows("SELECT count(*) AS n FROM rewards WHERE success") as [{ n: number }];
  assert.equal(Number(n), 26);
});

for (
  const [what, roles, message] of [
    ["a shaper", { shaper: { shape: never } }, null],
    ["a scenario source", {
      source: {
        produce: async function* () {
          yield await never();
        },
      },
    }, null],
    ["one exporter, while another throws", {
      exporters: {
        hangs: { export: never },
        throws: { export: () => Promise.reject(new Error("the shop is closed")) },
      },
    }, /^Stage "throws" \(exporter\/throws\) failed: the shop is closed$/],
  ] as [string, GivenRoles, RegExp | null][]
) {
  Deno.test(`a run can be stopped, and fail, while ${what} never answers`, async () => {
    await using run = await pluginRun(roles, SMALL);
    const stop = new AbortController();
    const timer = message ? undefined : setTimeout(() => stop.abort(), 300);
    const { status, error } = await run.start({ signal: stop.signal, grace_secs: 0.2 });
    clearTimeout(timer);
    assert.equal(status, message ? "failed" : "interrupted");
    if (message) assert.match(error!.message, message);
  });
}

Deno.test("a source that yields for ever can be stopped", async () => {
  function* produce(): Iterable<Scenario> {
    for (let index = 0;; index++) yield { ...scenarios(1, 0)[0]!, id: `endless-${index}` };
  }
  await using run = await pluginRun({ source: { produce } }, SMALL);
  assert.equal((await run.start({ signal: AbortSignal.timeout(300), grace_secs: 2 })).status, "interrupted");
});

for (
  const [what, rollout] of [
    ["never answers", {
      run: async function* () {
        yield await never();
      },
    }],
    ["yields for ever", {
      run: async function* (args) {
        for (;;) yield* answering.run(args);
      },
    }],
  ] as [string, Roles["rollout"]][]
) {
  Deno.test(`a rollout plugin that ${what} ends its rollouts in time`, async () => {
    const endpoint = { base_url: "http://127.0.0.1:1/v1", model: "m", context_tokens: 4096 };
    const settings = { ...MEASURED, agent: { endpoint, rollout_timeout_secs: 0.3 } };
    await using run = await pluginRun({ rollout, trainer: null }, settings);
    assert.equal((await run.start()).status, "completed");
    const ends = await run.rows("SELECT DISTINCT outcome FROM rollouts");
    assert.ok(ends.every(({ outcome }) => ["timeout", "endpoint_failed"].includes(String(outcome))));
  });
}

Deno.test("what failed in an outage is done again when the run is resumed", async () => {
  let out = true;
  const failing = <T>(work: () => T): T => {
    if (out) throw new Error("out of service");
    return work();
  };
  const judge: Roles["judge"] = { ...alternating, judge: (args) => failing(() => alternating.judge(args)) };
  const rollout: Roles["rollout"] = { run: (args) => failing(() => answering.run(args)) };
  const shaper: Roles["reward-shaper"] = {
    shape: (_, { good }) => failing(() => ({ value: (good as { score: number }).score, parts: {} })),
  };
  for (const roles of [{ judges: { good: judge } }, { rollout }, { shaper }]) {
    await using run = await pluginRun(roles, SMALL);
    out = true;
    const { status, error } = await run.start();
    assert.equal(status, "failed");
    assert.match(
      error!.message,
      /^Cannot train on step 1: 4 of 4 rewards are invalid \(most frequent cause, 4 times: .*out of service\)$/,
    );
    out = false;
    const resumed = await run.start({ resume: true });
    assert.equal(resumed.status, "completed", resumed.error?.message);
    const [{ n }] = await run.rows("SELECT count(*) AS n FROM train_steps") as [{ n: number }];
    assert.equal(Number(n), 2);
  }
});

Deno.test("a tracker cannot change the run, and one that never answers is named at its end", async () => {
  const changing: Roles["tracker"] = {
    on: ({ type, data }) => {
      if (type === "judgement.made") (data as { score: number }).score = 1;
    },
  };
  const none: Roles["judge"] = { ...alternating, judge: ({ group }) => group.map(() => ({ score: 0, reason: "" })) };
  const trackers = { changing, hanging: { on: never } };
  await using run = await pluginRun({ judges: { none }, trackers, trainer: null }, MEASURED);
  const { status, verdict } = await run.start();
  assert.deepEqual([status, verdict!.policies.base!.success.mean], ["completed", 0]);
  const missed = run.lines.filter((line) => /missed/.test(line));
  assert.equal(missed.length, 1);
  assert.match(missed[0]!, /^warn: tracker hanging \(tracker\/hanging\) was too slow and missed \d+ events$/);
});

/** A hosted trainer that works, but for `changes`. */
function hostedTrainer(changes: Partial<HostedTrainer> = {}): Roles["trainer"] {
  const step = { kind: "rl", loss: 1, metrics: {}, seconds: 0 } as const;
  return {
    mode: "hosted",
    open: () =>
      Promise.resolve({
        base: silentPolicy("base", 0),
        model: { id: "hosted" },
        submit: () => Promise.resolve({ id: "job" }),
        async *watch() {
          yield await Promise.resolve({ ...step, step: 1 });
          return { id: "kept" };
        },
        pause: () => Promise.resolve(),
        resume: () => Promise.resolve(true),
        checkpoints: () => Promise.resolve([{ id: "kept" }]),
        policy: ({ name, version }) => Promise.resolve(silentPolicy(name, version)),
        ...changes,
      }),
  };
}

const graded: Roles["judge"] = { ...alternating, toGrader: () => ({ type: "same" }) };
const nothing = () => Promise.resolve(undefined) as Promise<never>;

/** A step that reports this. */
const stepping = (report: object) =>
  async function* () {
    yield await Promise.resolve({ name: "seen", value: 1 });
    return { kind: "rl", metrics: {}, seconds: 0, ...report } as never;
  };

const BAD_RESULTS: [string, GivenRoles, RegExp][] = [
  ["a job", { trainer: hostedTrainer({ submit: nothing }) }, /"trainer" .* failed: a job is not an object/],
  [
    "the step of a job",
    { trainer: hostedTrainer({ watch: stepping({}) as never }) },
    /"trainer" .* failed: the report of a step has no step \(number\)/,
  ],
  ["a policy", { trainer: hostedTrainer({ policy: nothing }) }, /"trainer" .* failed: a policy is not an object/],
  [
    "a grader",
    {
      trainer: hostedTrainer(),
      judges: {
        good: {
          ...graded,
          toGrader: () => {
            throw new Error("no grader today");
          },
        },
      },
    },
    /"good" .* failed: no grader today/,
  ],
  [
    "a loss",
    { trainer: onlineTrainer({ step: stepping({ step: 1, loss: NaN }) }) },
    /"trainer" .* failed: step 1 has loss NaN: expected a number/,
  ],
  [
    "a step",
    { trainer: onlineTrainer({ step: stepping({ step: 7, loss: 1 }) }) },
    /"trainer" .* failed: step 1 was reported as step 7/,
  ],
  [
    "an export",
    { exporters: { shop: { export: nothing } } },
    /"shop" .* failed: what an exporter returns is not an object/,
  ],
  [
    "a scenario",
    { source: { produce: () => [{ id: 5 }] as unknown as Scenario[] } },
    /"source" .* failed: .*id.*string/,
  ],
];

for (const [what, roles, message] of BAD_RESULTS) {
  Deno.test(`a plugin that returns ${what} that is none is named`, async () => {
    const hosted = (await roles.trainer)?.mode === "hosted";
    const judges = { judges: roles.judges ?? (hosted ? { good: graded } : { good: alternating }) };
    await using run = await pluginRun(
      { ...roles, ...judges },
      hosted ? {} : { ...SMALL, evaluate: { policies: ["tuned"] } },
    );
    const { status, error } = await run.start();
    assert.equal(status, "failed");
    assert.match(error!.message, message);
    assert.equal((error as { code?: string }).code, "STAGE_FAILED");
  });
}

Deno.test("an evaluation of a hosted pipeline that was stopped goes on, and submits no job", async () => {
  let submitted = 0;
  const trainer = hostedTrainer({ submit: () => Promise.resolve({ id: `job-${++submitted}` }) });
  await using run = await pluginRun({ trainer, judges: { good: graded } });
  const measure = { policy: "tuned", weights: "kept" } as const;
  assert.equal((await run.start({ ...stoppedAt("rollout.completed"), measure })).status, "interrupted");
  const { status, verdict } = await run.start({ resume: true });
  assert.deepEqual([status, Object.keys(verdict!.policies), submitted], ["completed", ["tuned"], 0]);
});

Deno.test("a plugin that cannot be closed costs no verdict", async () => {
  const trainer = hostedTrainer({ [Symbol.asyncDispose]: () => Promise.reject(new Error("jammed")) });
  await using run = await pluginRun({ trainer, judges: { good: graded } });
  assert.equal((await run.start()).status, "completed");
  assert.ok(
    run.lines.includes("warn: stage trainer (trainer/trainer) could not be closed: jammed"),
    run.lines.join("\n"),
  );
});
