import assert from "node:assert/strict";
import { protect, redact } from "./redact.ts";

Deno.test("redact() hides bearer tokens and protected values when they stand in a text", () => {
  protect(["s3cr3t-value-1", "short"]);
  assert.equal(
    redact("Authorization: Bearer abcdefgh12345678 and s3cr3t-value-1, not short"),
    "Authorization: Bearer [redacted] and [redacted], not short",
  );
});
