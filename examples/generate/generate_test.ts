import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadPipeline, type RunOptions, runPipeline, type Scenario, type SourceTools } from "@hone/hone";
import type { Run } from "../../pipeline/run/context.ts";
import { checkScenarios } from "../../pipeline/run/scenario_check.ts";
import { sourceTools } from "../../pipeline/run/source_tools.ts";
import { generate, generatingRun, withCache } from "../../tests/fixtures/generated_run.ts";
import { scriptedEndpoint } from "../../tests/fixtures/scripted_endpoint.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const combination = ({ tags }: Scenario) => tags[1]!;
const family = ({ tags }: Scenario) => tags[0]!;
const none = () => Promise.reject(new Error("nobody is asked"));

/** What holds for every generated set: the check of `hone scenarios check`, and splits. */
async function assertSound(run: Run, scenarios: Scenario[], count: number): Promise<void> {
  assert.equal(scenarios.length, count);
  const checked = await checkScenarios(run, scenarios);
  assert.deepEqual(checked.findings.filter(({ level }) => level === "error"), []);
  assert.deepEqual([checked.solutions, checked.solved], [count, count]);
  const of = (split: string) => new Set(scenarios.filter((one) => one.split === split).map(combination));
  assert.ok(of("heldout").size > 0);
  assert.deepEqual([...of("heldout")].filter((one) => of("train").has(one) || of("validation").has(one)), []);
  assert.deepEqual([...of("validation")].filter((one) => !of("train").has(one)), []);
  assert.equal(new Set(scenarios.map(({ task }) => task)).size, count);
  const families = ["ambiguous", "error_recovery", "multi_tool", "no_tool", "single_tool"];
  assert.deepEqual([...new Set(scenarios.map(family))].sort(), families);
}

/** A set with an empty cache, twice the same; a third time from the cache alone. */
async function assertRepeats(run: Run, count: number): Promise<Scenario[]> {
  return await withCache(async (cache_dir) => {
    const first = await generate(run, { count }, { cache_dir });
    const recalled = await generate(run, { count }, { cache_dir, lease: none, trial: none, llm: { ask: none } });
    assert.deepEqual(recalled, first);
    assert.deepEqual(await withCache((cache_dir) => generate(run, { count }, { cache_dir })), first);
    return first;
  });
}

Deno.test("files.yaml gives a sound set of 60, some of it about files that exist, the same twice", async () => {
  await generatingRun("files.yaml", async (run) => {
    const scenarios = await assertRepeats(run, 60);
    await assertSound(run, scenarios, 60);
    assert.ok(scenarios.some(({ task }) => task.includes("menu.txt") || task.includes("recipes/pancakes.txt")));
  });
});

Deno.test("everything.yaml gives a sound set of 40, the same twice", async () => {
  await generatingRun("everything.yaml", async (run) => {
    const scenarios = await assertRepeats(run, 40);
    await assertSound(run, scenarios, 40);
    const tools = new Set(scenarios.flatMap(({ solution }) => solution!.calls.map(({ tool }) => tool)));
    assert.deepEqual(["get-env", "gzip-file-as-resource"].filter((tool) => tools.has(tool)), []);
    assert.ok(tools.size >= 10, [...tools].join(", "));
  });
});

Deno.test("a server that keeps what calls have made gives a sound set too", async () => {
  const memory = "npm:@modelcontextprotocol/server-memory@2026.8.31";
  const servers = {
    memory: {
      command: "deno",
      args: ["run", "-A", "--no-config", "--no-lock", "--quiet", memory],
      env: { MEMORY_FILE_PATH: "${workdir}/memory.jsonl" },
      reset: "workdir",
    },
  };
  await generatingRun("files.yaml", async (run) => {
    const scenarios = await withCache((cache_dir) => generate(run, { count: 40 }, { cache_dir }));
    await assertSound(run, scenarios, 40);
    const prepared = scenarios.filter(({ setup }) => setup?.calls?.some(({ tool }) => tool === "create_entities"));
    assert.ok(prepared.length > 0, "some tasks are about what a call of the setup has made");
  }, { servers });
});

Deno.test("a stopped generation goes on where it was, to the same set", async () => {
  await generatingRun("files.yaml", async (run) => {
    const { trial } = await sourceTools(run)("counting", undefined);
    let trials = 0;
    const counting = (most: number): SourceTools["trial"] => (scenario, options) =>
      ++trials > most ? Promise.reject(new Error("stopped")) : trial(scenario, options);
    const again = (cache_dir: string, most = Infinity) => {
      trials = 0;
      return generate(run, { count: 24 }, { cache_dir, trial: counting(most) });
    };
    const whole = await withCache(again);
    const all = trials;
    await withCache(async (cache_dir) => {
      await assert.rejects(again(cache_dir, all / 2), { message: "stopped" });
      assert.deepEqual(await again(cache_dir), whole);
      assert.ok(trials > 0 && trials < all, `${trials} of ${all}`);
    });
  });
});

Deno.test("a resumed run keeps the scenarios that it has recorded", async () => {
  await using endpoint = scriptedEndpoint(() => "Done.");
  const { base_url, model } = endpoint.policy;
  const agent = { "agent.endpoint": { base_url, model, context_tokens: 4096 } };
  const loaded = await loadPipeline(join(here, "files.yaml"), {
    overrides: { ...agent, "stages.generate.with.count": 12 },
  });
  const root = await mkdtemp(join(tmpdir(), "hone-generate-"));
  const run_dir = join(root, "run");
  const started = async (options: Partial<RunOptions>) => {
    const produced: string[] = [];
    const said: string[] = [];
    const stop = new AbortController();
    const { status } = await runPipeline(loaded, {
      ...{ run_dir, signal: stop.signal, ...options },
      on_event: ({ type, data }) => {
        if (type === "scenario.produced") produced.push((data as Scenario).id);
        if (type === "rollout.completed" && !options.resume) stop.abort(new Error("stopped"));
      },
      on_log: (_, line) => line.startsWith("generate:") && said.push(line),
    });
    return { status, produced, said };
  };
  const first = await started({});
  assert.deepEqual([first.status, first.produced.length], ["interrupted", 12]);
  const kept = (await readFile(join(run_dir, "scenarios", "generate", "scenarios.jsonl"), "utf8")).trim().split("\n");
  assert.deepEqual(kept.map((line) => JSON.parse(line).id), first.produced);
  assert.deepEqual(await started({ resume: true }), { status: "completed", produced: [], said: [] });
  await rm(root, { recursive: true });
});
