import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { Catalog, JsonObject, Judgement, Scenario } from "@hone/hone";
import { offeredTools, readScenarios, renderTools } from "@hone/hone";
import { fakeContext, fakeJudgeArgs, fakeTrajectory } from "@hone/hone/testing";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import { EnvironmentPool, type Lease } from "../../pipeline/mcp/pool/pool.ts";
import { asPart } from "../../pipeline/scenario/parts.ts";
import calls from "../../plugins/judge/calls.ts";
import state, { type Check } from "../../plugins/judge/state.ts";
import { generate } from "./generate.ts";
import { seen, unseen } from "./words.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const text = await readFile(join(here, "scenarios.jsonl"), "utf8");
const rows: Scenario[] = text.trim().split("\n").map((line) => JSON.parse(line));
const split = (name: string) => rows.filter((row) => row.split === name);
const families = (name: string) => [...new Set(split(name).map(({ tags }) => tags[0]))];

Deno.test("scenarios.jsonl is what generate() writes", () => assert.equal(generate(7), text));

Deno.test("generate() makes other scenarios from another seed", () => assert.notEqual(generate(8), text));

Deno.test("scenarios.jsonl has enough of every family, and no task twice", () => {
  assert.deepEqual(["train", "validation", "heldout"].map((name) => split(name).length), [336, 56, 96]);
  assert.equal(new Set(rows.map(({ task }) => task)).size, rows.length);
  assert.equal(new Set(rows.map(({ id }) => id)).size, rows.length);
  assert.deepEqual(families("heldout").filter((family) => !families("train").includes(family)), ["name"]);
});

Deno.test("scenarios.jsonl keeps held-out words and phrasings out of the other splits", () => {
  const all = (words: typeof seen) => [...words.files, ...words.folders, ...words.contents, ...words.flags.flat()];
  assert.deepEqual(all(seen).filter((word) => all(unseen).includes(word)), []);
  const names = (row: Scenario) => [...row.task.matchAll(/"(\w+)"/g)].map(([, name]) => name!);
  assert.deepEqual(split("heldout").flatMap(names).filter((name) => !all(unseen).includes(name)), []);
  const phrasings = (name: string) => new Set(split(name).map(({ task }) => task.replace(/"\w+"/g, "_")));
  assert.deepEqual([...phrasings("heldout")].filter((phrasing) => phrasings("train").has(phrasing)), []);
});

/** A pool over the pipeline's own server, and what it offers. */
async function withServer(work: (pool: EnvironmentPool, catalog: Catalog) => Promise<void>) {
  const run_dir = await mkdtemp(join(tmpdir(), "hone-files-"));
  const config = pipeline_schema.parse(parse(await readFile(join(here, "pipeline.yaml"), "utf8")));
  const { log, signal } = fakeContext({});
  try {
    await using pool = new EnvironmentPool({
      servers: config.servers,
      run_dir,
      base_dir: here,
      allow_writes: false,
      log,
      signal,
    });
    await work(pool, await pool.discover("files"));
  } finally {
    await rm(run_dir, { recursive: true, force: true });
  }
}

/** What judge/state says after `act` in the scenario's own environment. */
async function judged(
  pool: EnvironmentPool,
  catalog: Catalog,
  scenario: Scenario,
  act: (lease: Lease) => Promise<void>,
): Promise<Judgement> {
  const role = await state.create(
    fakeContext(state.config.parse({ strict: true }), { base_dir: here }),
  );
  const { signal } = new AbortController();
  const lease = await pool.lease({ rollout_id: scenario.id, scenario, catalog, signal });
  try {
    const expected = scenario.checks as Check[];
    const before = await role.observeBefore!(lease, scenario, expected);
    await act(lease);
    const observation = await role.observe!(lease, scenario, expected, before);
    const group = [fakeTrajectory({ observations: { test: observation } })];
    return (await role.judge(fakeJudgeArgs({ group, scenario, expected })))[0]!;
  } finally {
    await lease.release();
  }
}

Deno.test("solutions reach their goal on the real server, and doing nothing scores 0", async () => {
  const sample = rows.filter(({ id }) => /^(train|heldout)-\w+-[1-4]$/.test(id));
  assert.equal(sample.length, 60);
  await withServer(async (pool, catalog) => {
    const [first] = await readScenarios([{ path: join(here, "scenarios.jsonl"), name: "scenarios.jsonl" }], {
      split: "train",
      catalog,
      parts: [state, calls].map((judge) => asPart(judge, true)!),
    });
    assert.deepEqual(first, rows[0]);
    for (const scenario of sample) {
      const solved = await judged(pool, catalog, scenario, async (lease) => {
        for (const call of scenario.solution!.calls) {
          const { outcome, text } = await lease.call(call.tool, call.arguments as JsonObject);
          assert.equal(outcome, "ok", `${scenario.id}: ${text}`);
        }
      });
      assert.equal("score" in solved && solved.score, 1, `${scenario.id}: ${JSON.stringify(solved)}`);
      const idle = await judged(pool, catalog, scenario, () => Promise.resolve());
      assert.equal("score" in idle && idle.score, 0, `${scenario.id}: ${JSON.stringify(idle)}`);
    }
  });
});

Deno.test("the tools fit in a few lines", async () => {
  await withServer(async (_pool, catalog) => {
    const shown = renderTools(offeredTools(rows[0]!, catalog.tools), "json");
    assert.equal(shown.split("\n").length, 7);
    assert.ok(shown.length < 700, shown);
    await Promise.resolve();
  });
});
