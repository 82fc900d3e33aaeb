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
    assert.deepEqual(await spentBefore(store), { calls: 0, tokens: 0, usd: 0 });
    let seq = 0;
    const priced = { ...endpoint.endpoint, price: { input_per_million: 1000, output_per_million: 2000 } };
    await using run = await llmRun({
      record: (data) => store.append({ seq: ++seq, at: 1, run_id: "r", source: "t", type: "llm.called", data }),
      limits: { calls: 2 },
    });
    for (const seed of [0, 0, 1, 2]) await run.llm.ask(question({ endpoint: priced, seed })).catch(() => {});
    assert.deepEqual(run.client.spent, { calls: 2, tokens: 30, usd: 0.04 });
    assert.deepEqual(await spentBefore(store), run.client.spent);
    assert.deepEqual(await store.read("SELECT outcome, cached, tries, usd FROM llm_calls ORDER BY seq"), [
      { outcome: "ok", cached: false, tries: 1, usd: 0.02 },
      { outcome: "ok", cached: true, tries: 0, usd: 0 },
      { outcome: "LLM_EMPTY", cached: false, tries: 1, usd: 0.02 },
      { outcome: "LLM_LIMIT", cached: false, tries: 0, usd: 0 },
    ]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("Budget.take() counts a question once, and lets none through where nothing is left", () => {
  const budget = new Budget({ calls: 2, tokens: 100 });
  budget.take({ model: "m" }, true);
  budget.take({ model: "m" }, false);
  budget.take({ model: "m" }, true);
  assert.throws(() => budget.take({ model: "m" }, true), {
    message: 'Cannot ask model "m": limits.llm_calls (2) is used up',
  });
  budget.take({ model: "m" }, false);
  budget.add({}, { prompt_tokens: 60, output_tokens: 40 });
  assert.throws(() => budget.take({ model: "m" }, false), {
    message: 'Cannot ask model "m": limits.llm_tokens (100) is used up',
  });
  assert.deepEqual(budget.spent, { calls: 2, tokens: 100, usd: 0 });
});

Deno.test("Budget.take() stops at limits.usd, and lets no endpoint through that states no price", () => {
  const budget = new Budget({ usd: 0.5 });
  const price = { input_per_million: 2, output_per_million: 10 };
  assert.throws(() => budget.take({ model: "m" }, true), {
    code: "LLM_UNPRICED",
    message: 'Cannot ask model "m": limits.usd is set, and the settings of its endpoint state no price',
  });
  budget.take({ model: "m", price }, true);
  budget.add({ price }, { prompt_tokens: 150_000, output_tokens: 20_000 });
  assert.throws(() => budget.take({ model: "m", price }, true), {
    message: 'Cannot ask model "m": limits.usd (0.5) is used up',
  });
  assert.deepEqual(budget.spent, { calls: 1, tokens: 170_000, usd: 0.5 });
});
