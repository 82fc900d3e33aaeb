import assert from "node:assert/strict";
import { join } from "node:path";
import { Store } from "../store/store.ts";
import { openaiStandIn } from "../../tests/fixtures/llm_endpoints.ts";
import { llmRun, question } from "../../tests/fixtures/llm_run.ts";
import { Budget, spentBefore } from "./budget.ts";

Deno.test("spentBefore() reads back what a run's calls cost, and the next start goes on from there", async () => {
  const dir = await Deno.makeTempDir();
  await using endpoint = openaiStandIn((_, index) => index === 1 ? "" : "ok");
  try {
    await using store = await Store.open(join(dir, "run.duckdb"), { run_id: "r", mode: "create" });
    assert.deepEqual(await spentBefore(store), { calls: 0, tokens: 0 });
    let seq = 0;
    await using run = await llmRun({
      record: (data) => store.append({ seq: ++seq, at: 1, run_id: "r", source: "t", type: "llm.called", data }),
      limits: { calls: 2 },
    });
    for (const seed of [0, 0, 1, 2]) await run.llm.ask(question({ endpoint: endpoint.endpoint, seed })).catch(() => {});
    assert.deepEqual(run.client.spent, { calls: 2, tokens: 30 });
    assert.deepEqual(await spentBefore(store), run.client.spent);
    assert.deepEqual(await store.read("SELECT outcome, cached, tries FROM llm_calls ORDER BY rowid"), [
      { outcome: "ok", cached: false, tries: 1 },
      { outcome: "ok", cached: true, tries: 0 },
      { outcome: "LLM_EMPTY", cached: false, tries: 1 },
      { outcome: "LLM_LIMIT", cached: false, tries: 0 },
    ]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("Budget.take() counts a question once, and lets none through where nothing is left", () => {
  const budget = new Budget({ calls: 2, tokens: 100 });
  budget.take("m", true);
  budget.take("m", false);
  budget.take("m", true);
  assert.throws(() => budget.take("m", true), { message: 'Cannot ask model "m": limits.llm_calls (2) is used up' });
  budget.take("m", false);
  budget.add(100);
  assert.throws(() => budget.take("m", false), { message: 'Cannot ask model "m": limits.llm_tokens (100) is used up' });
  assert.deepEqual(budget.spent, { calls: 2, tokens: 100 });
});
