import assert from "node:assert/strict";
import { protect, protectAddress, protectProgram, redact, withoutHanded } from "./redact.ts";

Deno.test("redact() hides bearer tokens and protected values when they stand in a text", () => {
  protect(["s3cr3t-value-1", "short"]);
  assert.equal(
    redact("Authorization: Bearer abcdefgh12345678 and s3cr3t-value-1, not short"),
    "Authorization: Bearer [redacted] and [redacted], not short",
  );
});

Deno.test("withoutHanded() hides what a program or an address was given as a secret, and nothing else", () => {
  Deno.env.set("HONE_REDACT_TEST_TOKEN", "own-s3cr3t-2");
  protectProgram({ API_KEY: "given-s3cr3t-3", NODE_ENV: "production", KEY_FILE: "${workdir}/key.pem" }, []);
  protectAddress("https://me:p4ssw0rd-4@example.com/mcp?api_key=url-s3cr3t-5&profile=europe-west");
  assert.equal(
    withoutHanded("given-s3cr3t-3 p4ssw0rd-4 url-s3cr3t-5 production europe-west Bearer authentication"),
    "[redacted] [redacted] [redacted] production europe-west Bearer authentication",
  );
});

Deno.test("redact() hides the whole of a secret when another one is its beginning", () => {
  protect(["first-half", "first-half-and-second", "first-half"]);
  assert.equal(redact("first-half-and-second, first-half"), "[redacted], [redacted]");
});
