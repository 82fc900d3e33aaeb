/** Resources and resource templates of a real server as the agent's read tools: what the model sees, what is kept. @module */
import assert from "node:assert/strict";
import { openPool, scenario, serverConfig } from "../fixtures/test_pool.ts";

const EVERYTHING = "npm:@modelcontextprotocol/server-everything@2026.8.31";

Deno.test("resources: true gives the agent tools that list and read them, templates too", async () => {
  const args = ["run", "-A", "--no-config", "--no-lock", "--quiet", EVERYTHING];
  const servers = { it: serverConfig({ command: "deno", args, tools: ["echo"], resources: true }) };
  await using it = await openPool(servers);
  assert.deepEqual(it.catalog.tools.map(({ name }) => name), ["echo", "list_resources", "read_resource"]);
  assert.equal(
    it.catalog.tools[2]!.description,
    "Read one resource. URIs may have the form demo://resource/dynamic/text/{resourceId} or " +
      "demo://resource/dynamic/blob/{resourceId}.",
  );
  const signal = new AbortController().signal;
  const lease = await it.pool.lease({ rollout_id: "r", scenario: scenario(), catalog: it.catalog, signal });
  const listed = await lease.call("list_resources", {});
  assert.equal(listed.outcome, "ok");
  assert.equal(listed.text.split("\n").length, 7);
  assert.match(listed.text, /^demo:\/\/resource\/static\/document\/architecture\.md - architecture\.md/);
  const read = (uri: string) => lease.call("read_resource", { uri });
  const text = await read("demo://resource/dynamic/text/1");
  assert.match(
    text.text,
    /^\[resource: demo:\/\/resource\/dynamic\/text\/1\]\nResource 1: This is a plaintext resource/,
  );
  const blob = await read("demo://resource/dynamic/blob/2");
  assert.match(blob.text, /^\[resource: demo:\/\/resource\/dynamic\/blob\/2, text\/plain, \d+ bytes\]$/);
  const { contents: [kept] } = blob.result as { contents: { blob: string }[] };
  assert.match(atob(kept!.blob), /^Resource 2: This is a base64 blob/);
  const missing = await read("demo://resource/nowhere");
  assert.equal(missing.outcome, "protocol_error");
  assert.match(missing.text, /demo:\/\/resource\/nowhere/);
  assert.equal((await lease.call("read_resource", {})).outcome, "invalid_arguments");
  await lease.release();
});
