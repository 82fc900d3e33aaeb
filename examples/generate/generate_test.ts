import assert from "node:assert/strict";
import type { Scenario, SourceTools } from "@hone/hone";
import { fakeContext } from "@hone/hone/testing";
import type { Run } from "../../pipeline/run/context.ts";
import { checkScenarios } from "../../pipeline/run/scenario_check.ts";
import { sourceTools } from "../../pipeline/run/source_tools.ts";
import plugin from "../../plugins/scenario_source/generate.ts";
import { generated, withCache } from "../../tests/fixtures/generated_run.ts";

/** Generates once more in the same run, with other tools. */
async function again(run: Run, settings: object, given: Partial<SourceTools>): Promise<Scenario[]> {
  const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
  const tools = await sourceTools(run)("again", undefined);
  return await Array.fromAsync(role.produce(run.catalog, run.parts, { ...tools, ...given }));
}

const combination = ({ tags }: Scenario) => tags[1]!;
const family = ({ tags }: Scenario) => tags[0]!;
const none = () => Promise.reject(new Error("no server is called"));

/** What holds for every generated set: the check of `hone scenarios check`, and splits. */
async function assertSound(run: Run): Promise<void> {
  const { scenarios } = run;
  const checked = await checkScenarios(run, scenarios);
  assert.deepEqual(checked.findings.filter(({ level }) => level === "error"), []);
  assert.deepEqual([checked.solutions, checked.solved], [scenarios.length, scenarios.length]);
  const of = (split: string) => new Set(scenarios.filter((one) => one.split === split).map(combination));
  assert.deepEqual([...of("heldout")].filter((one) => of("train").has(one) || of("validation").has(one)), []);
  assert.deepEqual([...of("validation")].filter((one) => !of("train").has(one)), []);
  assert.equal(new Set(scenarios.map(({ task }) => task)).size, scenarios.length);
  const families = ["ambiguous", "error_recovery", "multi_tool", "no_tool", "single_tool"];
  assert.deepEqual([...new Set(scenarios.map(family))].sort(), families);
}

Deno.test("files.yaml gives a sound set of 60, from files that exist, the same twice", async () => {
  const first = await withCache(() =>
    generated("files.yaml", async (run) => {
      assert.equal(run.scenarios.length, 60);
      await assertSound(run);
      const offline = { lease: none, trial: none, llm: { ask: none } };
      assert.deepEqual(await again(run, { count: 60 }, offline), run.scenarios, "a second run calls no server");
      return run.scenarios;
    })
  );
  assert.ok(first.some(({ task }) => task.includes("menu.txt") || task.includes("recipes/pancakes.txt")));
  assert.deepEqual(await withCache(() => generated("files.yaml", (run) => Promise.resolve(run.scenarios))), first);
});

Deno.test("everything.yaml gives a sound set of 40, the same twice", async () => {
  const first = await withCache(() =>
    generated("everything.yaml", async (run) => {
      assert.equal(run.scenarios.length, 40);
      await assertSound(run);
      return run.scenarios;
    })
  );
  const tools = new Set(first.flatMap(({ solution }) => solution!.calls.map(({ tool }) => tool)));
  assert.deepEqual(["get-env", "gzip-file-as-resource"].filter((tool) => tools.has(tool)), []);
  assert.ok(tools.size >= 10, [...tools].join(", "));
  assert.deepEqual(await withCache(() => generated("everything.yaml", (run) => Promise.resolve(run.scenarios))), first);
});

Deno.test("a stopped generation goes on where it was, to the same set", async () => {
  const settings = { count: 24, heldout: 0.3 };
  const few = { overrides: { "stages.generate.with.count": 8 } };
  let trials = 0;
  const counting = async (run: Run, most: number): Promise<SourceTools["trial"]> => {
    const { trial } = await sourceTools(run)("counting", undefined);
    return (scenario, options) => {
      if (++trials > most) return Promise.reject(new Error("stopped"));
      return trial(scenario, options);
    };
  };
  const whole = await withCache(() =>
    generated("files.yaml", async (run) => await again(run, settings, { trial: await counting(run, Infinity) }), few)
  );
  const all = trials;
  await withCache(() =>
    generated("files.yaml", async (run) => {
      trials = 0;
      await assert.rejects(again(run, settings, { trial: await counting(run, all / 2) }), { message: "stopped" });
      trials = 0;
      assert.deepEqual(await again(run, settings, { trial: await counting(run, Infinity) }), whole);
      assert.ok(trials > 0 && trials < all, `${trials} of ${all}`);
    }, few)
  );
});
