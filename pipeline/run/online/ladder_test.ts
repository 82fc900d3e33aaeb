import assert from "node:assert/strict";
import { redact } from "../../common/redact.ts";
import type { RunContext } from "../context.ts";
import type { Completed } from "../../store/recorded.ts";
import { climb, endpointPolicy } from "./ladder.ts";

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
    const policy = endpointPolicy({ config: { agent: { endpoint } }, agent } as unknown as RunContext);
    assert.deepEqual([policy.api_key, policy.headers], ["policy-s3cret", { "x-org": "org-s3cret" }]);
    assert.equal(redact("policy-s3cret or org-s3cret"), "[redacted] or [redacted]");
  } finally {
    Deno.env.delete("HONE_TEST_POLICY");
  }
});

Deno.test("climb() refuses to train on an endpoint that does not give its tokens", async () => {
  const base = { name: "base", tokens: "none", base_url: "http://127.0.0.1:8000/v1" };
  const ctx = { trainer: { base }, config: { ladder: ["rl"] }, agent: {} } as unknown as RunContext;
  await assert.rejects(climb(ctx, {} as Completed), {
    code: "TOKENS_NOT_GIVEN",
    message: "Cannot train: the endpoint http://127.0.0.1:8000/v1 does not give the tokens that it sampled",
    hint: "Its policy must be `tokens: exact`. For vLLM: send `return_token_ids`, start it with " +
      "`--logprobs-mode processed_logprobs`; or evaluate only (`ladder: [prompt]`).",
  });
});
