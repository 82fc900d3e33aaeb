import assert from "node:assert/strict";
import { EndpointError, errorIn, post, reasonOf, refusalOf, waitFor } from "./endpoint_http.ts";
import { TooLarge } from "../common/bounded_body.ts";
import { shutDown } from "../common/shut_down.ts";

Deno.test("refusalOf() takes the error out of what OpenAI, Anthropic and others send, else the text", () => {
  assert.equal(refusalOf('{"error":{"code":"x","message":"no","param":"seed"}}'), "x: no: (seed)");
  assert.equal(
    refusalOf('{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}'),
    "overloaded_error: Overloaded",
  );
  assert.equal(
    refusalOf("{\"error\":\"'response_format.type' must be 'text'\"}"),
    "'response_format.type' must be 'text'",
  );
  assert.equal(refusalOf('{"detail":"Not Found"}'), '{"detail":"Not Found"}');
  assert.equal(refusalOf("<html>" + "x".repeat(600)).length, 500);
  assert.equal(reasonOf({ message: 7, param: "p" } as never), "(p)");
});

Deno.test("errorIn() reads an error in the body of a 200, with its status where it has one", () => {
  assert.equal(errorIn({}), undefined);
  assert.deepEqual(errorIn({ error: { code: 429, message: "slow down" } }), { status: 429, reason: "slow down" });
  assert.deepEqual(errorIn({ error: "busy" }), { status: 502, reason: "busy" });
  assert.deepEqual(errorIn({ error: {} }), { status: 502, reason: "{}" });
});

Deno.test("EndpointError.passing is true of what another try may mend, money not among it", () => {
  const passing = (status: number, reason = "") =>
    new EndpointError({ code: "X", message: "" }, status, reason).passing;
  assert.deepEqual([0, 200, 400, 401, 404, 408, 409, 429, 500, 529].filter((status) => passing(status)), [
    0,
    408,
    409,
    429,
    500,
    529,
  ]);
  const spent = {
    type: "rate_limit_error",
    message: "Reached.",
    details: { error_code: "enforced_spend_limit_reached" },
  };
  assert.equal(passing(429, reasonOf(spent)), false);
  assert.equal(passing(429, "insufficient_quota: You exceeded your current quota"), false);
});

Deno.test("waitFor() waits what it was asked to, longer with each attempt, and never above the limit", () => {
  for (let attempt = 1; attempt <= 20; attempt++) assert.ok(waitFor(attempt, undefined) <= 20_000);
  assert.ok(waitFor(1, undefined) <= 250);
  const asked = waitFor(1, 3000);
  assert.ok(asked >= 3000 && asked <= 3250);
  assert.ok(waitFor(1, 3_600_000, 60_000) <= 60_250);
});

Deno.test("post() reads an answer up to the bytes that it may have, whether its length is told or not", async () => {
  const told = new Response("x".repeat(2000));
  const streamed = () => new Response(ReadableStream.from(Array.from({ length: 20 }, () => new Uint8Array(100))));
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    ({ url }) => url.endsWith("/told") ? told : streamed(),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  const init = { headers: {}, body: "{}", signal: new AbortController().signal };
  await assert.rejects(post(`${url}/streamed`, { ...init, max_bytes: 1999 }), TooLarge);
  assert.equal((await post(`${url}/streamed`, { ...init, max_bytes: 2000 })).text.length, 2000);
  await assert.rejects(post(`${url}/told`, { ...init, max_bytes: 1999 }), {
    message: "it sent an answer of more than 1999 bytes",
  });
  await shutDown(server);
});
