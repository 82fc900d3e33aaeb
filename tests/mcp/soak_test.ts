import assert from "node:assert/strict";
import { openPool, scenario, serverConfig } from "../fixtures/test_pool.ts";

const ROLLOUTS = 64;
const signal = new AbortController().signal;

Deno.test("64 rollouts at once on @modelcontextprotocol/server-memory see only what they wrote, and all of it", async () => {
  const memory = serverConfig({
    command: "deno",
    args: ["run", "-A", "--no-config", "--no-lock", "npm:@modelcontextprotocol/server-memory@2026.8.31"],
    env: { MEMORY_FILE_PATH: "${workdir}/memory.jsonl" },
    start_timeout_secs: 300,
  });
  await using made = await openPool({ memory });
  const { pool, catalog } = made;
  let together = 0;
  const everyone = Promise.withResolvers<void>();
  const rollout = async (id: number) => {
    const lease = await pool.lease({ rollout_id: `r${id}`, scenario: scenario(), catalog, signal });
    if (++together === ROLLOUTS) everyone.resolve();
    await everyone.promise;
    const names = Array.from({ length: 4 }, (_, step) => `${id}.${step}`);
    for (const name of names) {
      const entities = [{ name, entityType: "note", observations: [`of rollout ${id}`] }];
      assert.equal((await lease.call("create_entities", { entities })).outcome, "ok");
    }
    const seen = JSON.parse((await lease.call("read_graph", {})).text);
    await lease.release();
    assert.deepEqual(seen.entities.map((entity: { name: string }) => entity.name), names);
  };
  await Promise.all(Array.from({ length: ROLLOUTS }, (_, id) => rollout(id)));
});
