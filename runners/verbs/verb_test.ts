import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { scriptedStages } from "../../tests/fixtures/judged_pipeline.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { liveRun } from "../../tests/fixtures/small_run.ts";
import { recordingTerminal } from "../../tests/fixtures/recording_terminal.ts";
import { TEST_SERVER } from "../../tests/fixtures/test_pool.ts";
import { Person } from "../cli/person.ts";
import { VERBS } from "./mod.ts";
import { EFFECTS, shownAs, type Verb } from "./verb.ts";

const RUNNERS = fileURLToPath(new URL("..", import.meta.url));
const SCRIPTED = fileURLToPath(new URL("../../tests/fixtures/scripted/pipeline.yaml", import.meta.url));

/** Calls a verb, and fails unless its value in JSON is what its schema says, field by field. */
async function checked(
  verb: Verb,
  positional: string[] = [],
  given: Record<string, unknown> = {},
  { signal } = new AbortController(),
) {
  const { terminal } = recordingTerminal();
  using caller = new Person(terminal, verb, "json", signal);
  const args = verb.args.parse(given);
  const value = await verb.run({ args, positional, signal, caller });
  const shown = verb.formats && !verb.formats.json ? value : JSON.parse(shownAs("json", value, verb));
  assert.deepEqual(verb.result.parse(shown), shown);
  assert.equal(typeof verb.text(value, { args, positional }), "string");
  return shown;
}

/** Values of each verb, in a folder with a run that has ended and one that lives. */
const CASES: Record<string, (verb: Verb, dir: string) => Promise<unknown>> = {
  async run(verb, dir) {
    const args = { run_dir: join(dir, "run"), yes: true, set: ["ladder=[prompt]", "evaluate.policies=[base]"] };
    const planned = await checked(verb, [SCRIPTED], { ...args, dry_run: true });
    assert.deepEqual(Object.keys(planned), ["run_dir", "config", "plan"]);
    const done = await checked(verb, [SCRIPTED], args);
    assert.deepEqual([done.status, done.kept, Object.keys(done.verdict.policies)], ["completed", true, ["base"]]);
    const broken = { ...args, run_dir: join(dir, "broken"), set: ["servers.files.command=no-such-program"] };
    const error = 'Cannot start "no-such-program": no such program on PATH';
    assert.deepEqual(await checked(verb, [SCRIPTED], broken), {
      status: "failed",
      run_dir: join(dir, "broken"),
      kept: false,
      error,
    });
  },
  resume: (verb, dir) => checked(verb, [join(dir, "run")], { yes: true }),
  evaluate: (verb, dir) => checked(verb, [join(dir, "run")], { yes: true, run_dir: join(dir, "evaluation") }),
  async eval(verb, dir) {
    const dataset = join(dir, "tasks.json");
    await Deno.writeTextFile(dataset, JSON.stringify([{ task: "Say yes.", answer: { equals: "yes" } }]));
    const set = ["agent.endpoint.context_tokens=4096"];
    const args = {
      model: "m",
      base_url: "http://127.0.0.1:9/v1",
      dataset,
      output_dir: join(dir, "eval"),
      set,
      yes: true,
    };
    const { status, verdict } = await checked(verb, [], args);
    assert.deepEqual([status, verdict.policies.base.success.n], ["completed", 0]);
  },
  async train(verb, dir) {
    const args = { base_model: "smollm2-135m", dataset: join(dir, "tasks.json"), num_gpus: 999, yes: true };
    await assert.rejects(checked(verb, [], args), { code: "NO_GPU" });
  },
  rejudge: (verb, dir) => checked(verb, [join(dir, "run")], { yes: true, run_dir: join(dir, "rejudged") }),
  async label(verb, dir) {
    const rollout_id = await firstRollout(join(dir, "run"));
    const given = await checked(verb, [join(dir, "run"), rollout_id, "up"], { reason: "right" });
    assert.deepEqual(given.labels, [{ rollout_id, score: 1, reason: "right" }]);
    assert.deepEqual((await checked(verb, [join(dir, "run")], { list: true })).labels, given.labels);
  },
  async compare(verb, dir) {
    const ruler = { use: "judge/ruler", with: { endpoint: { base_url: "http://127.0.0.1:9/v1", model: "none" } } };
    const stages = await scriptedStages([{ use: "judge/state" }, ruler]);
    const pipeline = join(dir, "ruled.yaml");
    await Deno.writeTextFile(pipeline, JSON.stringify({ ...parse(await Deno.readTextFile(SCRIPTED)), stages }));
    // A policy is as good as itself: nobody is asked.
    const same = await checked(verb, [join(dir, "run"), "base", "base"], { pipeline, yes: true });
    assert.deepEqual([same.wins, same.losses, same.invalid, same.requests, same.share.mean], [0, 0, 0, 0, 0.5]);
    assert.ok(same.ties > 0);
  },
  audit: (verb, dir) => checked(verb, [join(dir, "run")], { yes: true }),
  async validate(verb, dir) {
    await Deno.writeTextFile(join(dir, "p.yaml"), "name: p\nsede: 1\n");
    await checked(verb, [SCRIPTED, join(dir, "p.yaml")]);
  },
  async "scenarios check"(verb) {
    const { scenarios, failed } = await checked(verb, [SCRIPTED], { yes: true, split: "heldout" });
    assert.deepEqual([scenarios > 0, typeof failed], [true, "boolean"]);
    const absent = { args: { yes: true, split: "validation" }, positional: [SCRIPTED] };
    await assert.rejects(checked(verb, absent.positional, absent.args), {
      message: 'Cannot check scenarios: the pipeline has none of split "validation"',
    });
  },
  async "scenarios generate"(verb, dir) {
    const { name, agent, servers, stages } = parse(await Deno.readTextFile(SCRIPTED));
    const kept = stages.filter(({ use }: { use: string }) => /^(discoverer|rollout|judge|reward-shaper)\//.test(use));
    const pipeline = join(dir, "generated.yaml");
    const endpoint = { base_url: "http://127.0.0.1:9/v1", model: "none" };
    const all = [...kept, { use: "scenario-source/generate", with: { count: 12 } }];
    await Deno.writeTextFile(pipeline, JSON.stringify({ name, agent: { ...agent, endpoint }, servers, stages: all }));
    const out = join(dir, "generated.jsonl");
    const { scenarios } = await checked(verb, [pipeline], { yes: true, out });
    assert.ok(scenarios > 0);
    assert.equal((await Deno.readTextFile(out)).trim().split("\n").length, scenarios);
  },
  graph: (verb) => checked(verb, [SCRIPTED]),
  discover: (verb) => checked(verb, ["deno", "run", "-A", TEST_SERVER]),
  call: (verb) => checked(verb, ["deno", "run", "-A", TEST_SERVER], { tool: "append", input: '{"text": "x"}' }),
  async list(verb) {
    await checked(verb);
    await checked(verb, ["judge/state"]);
  },
  new: (verb, dir) => checked(verb, ["judge", "tone"], { dir }),
  runs: (verb, dir) => checked(verb, [], { dir }),
  query: (verb, dir) => checked(verb, [join(dir, "run"), "SELECT * FROM runs"]),
  report: (verb, dir) => checked(verb, [join(dir, "run")]),
  async watch(verb, dir) {
    const { run_dir, end } = await liveRun(dir, "watched");
    const stopped = new AbortController();
    stopped.abort();
    assert.deepEqual(await checked(verb, [run_dir], {}, stopped), { run_dir, status: "running" });
    await end("completed");
  },
  pause: async (verb, dir) => void await checked(verb, [(await liveRun(dir, "paused")).run_dir]),
  cancel: async (verb, dir) => void await checked(verb, [(await liveRun(dir, "cancelled")).run_dir]),
  doctor: (verb) => checked(verb),
  completion: (verb) => checked(verb, ["bash"]),
};

async function firstRollout(run_dir: string): Promise<string> {
  await using run = await openRun(run_dir);
  const [row] = await run.query("SELECT rollout_id FROM rollouts ORDER BY seq LIMIT 1");
  return String(row!.rollout_id);
}

Deno.test("every verb's value is what its result says, field by field", async (t) => {
  const dir = await mkdtemp(join(tmpdir(), "hone-verbs-"));
  // A login needs an authorization server: tests/oauth has one.
  const wanted = VERBS.filter(({ name }) => name !== "login");
  for (const { name, load } of wanted) {
    await t.step(name, async () => void await CASES[name]!((await load()).default, dir));
  }
  await rm(dir, { recursive: true });
});

Deno.test("every verb says what it does to the world, and only verbs that act are harmless", async () => {
  const verbs = await Promise.all(VERBS.map(async ({ load }) => (await load()).default));
  for (const { name, effect, harmless } of verbs) {
    assert.ok(Object.hasOwn(EFFECTS, effect), name);
    assert.ok(!harmless || effect === "acts", name);
  }
  const names = (effect: string) => verbs.filter((verb) => verb.effect === effect).map(({ name }) => name);
  assert.deepEqual(names("reads"), ["validate", "graph", "list", "runs", "query", "watch", "doctor", "completion"]);
  assert.deepEqual(names("acts"), ["label", "login", "new", "report", "pause", "cancel"]);
  assert.deepEqual(names("runs"), [
    "run",
    "resume",
    "evaluate",
    "eval",
    "train",
    "rejudge",
    "compare",
    "audit",
    "scenarios check",
    "scenarios generate",
    "discover",
    "call",
  ]);
});

/** The sources below a folder of runners/, by name. */
function sources(folder: string): [string, string][] {
  const names = readdirSync(join(RUNNERS, folder), { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => name.endsWith(".ts") && !name.endsWith("_test.ts"));
  return files.map((name) => [name, readFileSync(join(RUNNERS, folder, name), "utf8")]);
}

Deno.test("no verb writes to a terminal, reads from one or asks by itself", () => {
  const found = sources("verbs");
  assert.ok(found.length > VERBS.length);
  for (const [file, text] of found) {
    assert.doesNotMatch(
      text,
      /\bconsole\.|process\.std|Deno\.(std|consoleSize|exit)|node:(process|readline|tty)/,
      file,
    );
  }
});

Deno.test("nothing in runners/ replaces what others print with", () => {
  for (const [file, text] of sources(".")) {
    assert.doesNotMatch(text, /console(\.\w+)?\s*=[^=]|assign\(console|(stdout|stderr)\.write\s*=[^=]/, file);
  }
});
