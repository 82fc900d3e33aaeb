import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import graph from "./graph.ts";

const PIPELINE = `name: measured
agent: { endpoint: { base_url: "http://127.0.0.1:1/v1", model: m } }
stages:
  - use: scenario-source/file
    with: { path: ./scenarios.yaml }
  - use: rollout/chat
  - { id: first, use: judge/answer }
  - { id: second, use: judge/answer }
  - use: reward-shaper/weighted
  - use: ./<own>.ts
`;
const TRACKER = `import { definePlugin } from "@hone/hone";
import { z } from "zod";
export default definePlugin({
  kind: "tracker", name: "own", summary: "Listens.", config: z.strictObject({}), examples: [{ title: "Defaults", with: {} }],
  create: () => ({ on() {} }),
});
`;

async function run(format: string, text = PIPELINE, loads_code = true) {
  const dir = await mkdtemp(join(tmpdir(), "hone-graph-"));
  try {
    await writeFile(join(dir, "pipeline.yaml"), text);
    await writeFile(join(dir, "<own>.ts"), TRACKER);
    await writeFile(
      join(dir, "scenarios.yaml"),
      "- { id: a, split: heldout, task: Say yes., answer: { equals: yes } }",
    );
    if (loads_code) {
      const { code, out } = await runVerb(graph, {
        positional: [join(dir, "pipeline.yaml")],
        args: { yes: true },
        format,
      });
      assert.equal(code, 0);
      return out.join("\n");
    }
    const within = (path: string) => Promise.resolve(path);
    const caller = { loads_code: false, within } as Parameters<typeof graph.run>[0]["caller"];
    const signal = new AbortController().signal;
    return await graph.run({ args: { yes: false }, positional: [join(dir, "pipeline.yaml")], signal, caller });
  } finally {
    await rm(dir, { recursive: true });
  }
}

Deno.test("graph shows what waits for what, a tracker beside it, and no event that nobody publishes", async () => {
  assert.equal(
    await run("text"),
    `run.started          → discoverer                         → catalog.discovered
                                                            catalog.changed

catalog.discovered   → scenario-source                    → scenario.produced
                         file: scenario-source/file         scenarios.completed

scenarios.completed  → ladder                             → prompt.proposed
evaluation.completed                                        evaluation.requested
                                                            demonstrations.requested
                                                            rung.started
                                                            policy.requested
                                                            ladder.completed

group.requested      → rollout (96 events at once)        → rollout.requested
                         chat: rollout/chat                 turn.completed
                                                            tool.called
                                                            observation.made
                                                            rollout.completed
                                                            group.completed

group.completed      → judge (48 events at once)          → judgement.made
                         first: judge/answer
                         second: judge/answer

group.completed      → reward-shaper (48 events at once)  → reward.shaped
judgement.made           weighted: reward-shaper/weighted   group.rewarded

evaluation.requested → measure                            → group.requested
group.rewarded                                              evaluation.completed

ladder.completed     → verdict                            → verdict.made

every event          → tracker                            → metric.recorded
                         own: ./<own>.ts`,
  );
});

Deno.test("graph draws the same as a Mermaid flowchart, ids escaped", async () => {
  const drawn = await run("mermaid") as string;
  assert.match(drawn, /^flowchart TD\n/);
  assert.ok(drawn.includes('b4["judge<br>first: judge/answer<br>second: judge/answer"]'), drawn);
  assert.ok(drawn.includes('b3 -- "group.completed" --> b4'), drawn);
  assert.ok(drawn.includes('b8["tracker<br>own: ./#60;own#62;.ts"]'), drawn);
  assert.ok(drawn.includes('run -. "every event" .-> b8'), drawn);
});

Deno.test("graph gives JSON of its own schema", async () => {
  const value = graph.result.parse(JSON.parse(await run("json") as string)) as { driver: string; bindings: unknown[] };
  assert.equal(value.driver, "online");
  assert.deepEqual(value.bindings[4], {
    name: "judge",
    kind: "judge",
    stages: [{ id: "first", use: "judge/answer" }, { id: "second", use: "judge/answer" }],
    consumes: ["group.completed"],
    produces: ["judgement.made"],
    concurrency: 48,
  });
});

Deno.test("graph shows nothing of a pipeline whose plugins must not be loaded", async () => {
  await assert.rejects(
    run("text", PIPELINE, false),
    (error) =>
      error instanceof HoneError &&
      error.message.startsWith('Cannot show plugin "./<own>.ts": loading it runs its code'),
  );
});
