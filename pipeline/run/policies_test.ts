import assert from "node:assert/strict";
import { redact } from "../common/redact.ts";
import type { Run } from "./context.ts";
import { endpointPolicy } from "./policies.ts";

Deno.test("endpointPolicy() sends key and headers, and keeps them out of logs", () => {
  Deno.env.set("HONE_TEST_POLICY", "policy-s3cret");
  try {
    const endpoint = {
      base_url: "http://127.0.0.1:1/v1",
      model: "m",
      api_key_env: "HONE_TEST_POLICY",
      headers: { "x-org": "org-s3cret" },
    };
    const agent = { temperature: 1, max_tokens: 8, tool_format: "auto" };
    const policy = endpointPolicy({ config: { agent: { endpoint } }, agent } as unknown as Run);
    assert.deepEqual([policy.api_key, policy.headers], ["policy-s3cret", { "x-org": "org-s3cret" }]);
    assert.equal(redact("policy-s3cret or org-s3cret"), "[redacted] or [redacted]");
  } finally {
    Deno.env.delete("HONE_TEST_POLICY");
  }
});
