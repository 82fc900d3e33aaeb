import assert from "node:assert/strict";
import { z } from "zod";
import { jsonSchema } from "../config/issues.ts";
import { undescribed } from "../testing.ts";
import { llm_endpoint, llm_sampling } from "./endpoint_schema.ts";

const settings = z.strictObject({ endpoint: llm_endpoint.describe("The model."), ...llm_sampling });

Deno.test("llm_endpoint and llm_sampling fill in defaults, and parse again unchanged", () => {
  const parsed = settings.parse({ endpoint: { base_url: "http://127.0.0.1:8000/v1", model: "m", headers: { n: 1 } } });
  assert.deepEqual(parsed, {
    endpoint: { api: "openai", base_url: "http://127.0.0.1:8000/v1", model: "m", headers: { n: "1" }, body: {} },
    max_tokens: 2048,
    timeout_secs: 60,
  });
  assert.deepEqual(settings.parse(parsed), parsed);
  assert.deepEqual(undescribed(jsonSchema(settings)), []);
});

Deno.test("llm_endpoint rejects other protocols, negative prices and unknown fields, all at once", () => {
  const { error } = llm_endpoint.safeParse({
    api: "gemini",
    base_url: "file:///etc/passwd",
    model: "",
    price: { input_per_million: -1, output_per_million: 0 },
    key: "x",
  });
  assert.deepEqual(error?.issues.map(({ path }) => path.join(".")), [
    "api",
    "base_url",
    "model",
    "price.input_per_million",
    "",
  ]);
});
