import assert from "node:assert/strict";
import type { Run } from "../context.ts";
import { ladderRungs } from "./bind_ladder.ts";

Deno.test("the ladder refuses to train on an endpoint that does not give its tokens", () => {
  const base = { name: "base", tokens: "none", base_url: "http://127.0.0.1:8000/v1" };
  const run = { policies: new Map([["base", base]]), config: { ladder: ["rl"] }, agent: {} } as unknown as Run;
  assert.throws(() => ladderRungs(run), {
    code: "TOKENS_NOT_GIVEN",
    message: "Cannot train: the endpoint http://127.0.0.1:8000/v1 does not return the tokens that it sampled",
    hint: "Its policy must be `tokens: exact`. For vLLM: send `return_token_ids` and start it with " +
      "`--logprobs-mode processed_logprobs`; or evaluate only (`ladder: [prompt]`).",
  });
});
