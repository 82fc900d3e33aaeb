import assert from "node:assert/strict";
import { conformance } from "../../pipeline/testing.ts";
import { openPool, silent, testServer } from "../../tests/fixtures/test_pool.ts";
import mcp from "./mcp.ts";

conformance(mcp);

Deno.test("discoverer/mcp joins several servers and prefixes the names that they share", async () => {
  await using made = await openPool({
    a: testServer({ tools: ["notes", "pid"] }),
    b: testServer({ tools: ["notes"] }),
  });
  const signal = new AbortController().signal;
  const discoverer = await mcp.create({ config: {}, stage: "mcp", log: silent, signal, base_dir: made.run_dir });
  const catalog = await discoverer.discover([{ name: "a" }, { name: "b" }], ({ name }) => made.pool.discover(name));
  assert.deepEqual(catalog.servers.map((server) => server.name), ["a", "b"]);
  assert.deepEqual(catalog.tools.map((tool) => tool.model_name).toSorted(), ["a_notes", "b_notes", "pid"]);
  assert.match(catalog.schema_hash, /^[0-9a-f]{64}$/);
});
