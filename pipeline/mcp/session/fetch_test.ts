import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { serverFetch } from "./fetch.ts";

const LIMIT = 10_000;
const large = "x".repeat(LIMIT + 1);

/** What a POST gets from a server that answers so: its text, or why there is none. */
async function posted(answer: () => Response, headers: Record<string, string> = {}): Promise<string> {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, answer);
  const url = `http://127.0.0.1:${server.addr.port}/mcp`;
  try {
    const response = await serverFetch({ url, headers, max_message_bytes: LIMIT })(url, { method: "POST", body: "{}" });
    return await response.text();
  } catch (error) {
    return (error as Error).message;
  } finally {
    await server.shutdown();
  }
}

Deno.test("serverFetch() bounds an answer, whether it says its length, hides it, or understates it", async () => {
  const refused = `it sent an answer of more than ${LIMIT} bytes`;
  const packed = new Uint8Array(gzipSync(large));
  const packed_headers = { "content-encoding": "gzip", "content-length": String(packed.length) };
  assert.equal(await posted(() => new Response("y".repeat(LIMIT))), "y".repeat(LIMIT));
  assert.equal(await posted(() => new Response(new Blob(["short"]).stream())), "short");
  assert.equal(await posted(() => new Response(large)), refused);
  assert.equal(await posted(() => new Response(new Blob([large]).stream())), refused);
  assert.equal(await posted(() => new Response(packed, { headers: packed_headers })), refused);
});
