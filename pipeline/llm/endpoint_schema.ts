/**
 * Schemas of the settings with which a plugin, or the pipeline file, names a language model: its endpoint, and how it is
 * sampled. Exported by `@hone/hone/schemas`; `llm.ask` of the run's client takes them as they are.
 * @module
 */
import { z } from "zod";
import type { LlmEndpoint, LlmPrice } from "../plugin.ts";

const header_values = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String));
const usd = z.number().min(0);

/** Price of a language model. */
export const llm_price: z.ZodType<LlmPrice> = z.strictObject({
  input_per_million: usd.describe("US dollars per million prompt tokens.").meta({ examples: [0.25] }),
  output_per_million: usd.describe("US dollars per million output tokens.").meta({ examples: [2] }),
});

/** Endpoint of a language model: any OpenAI-compatible one, or the Anthropic Messages API. */
export const llm_endpoint: z.ZodType<LlmEndpoint> = z.strictObject({
  api: z.enum(["openai", "anthropic"]).default("openai").describe(
    "API of the endpoint: `openai` (Chat Completions, any compatible endpoint) or `anthropic` (Messages).",
  ),
  base_url: z.url({ protocol: /^https?$/ }).describe(
    "Base URL: including `/v1` for `openai`; `https://api.anthropic.com` for `anthropic`.",
  ).meta({ examples: ["http://127.0.0.1:8000/v1"] }),
  model: z.string().min(1).describe("Name of the model at this endpoint.").meta({ examples: ["qwen3-4b"] }),
  api_key_env: z.string().min(1).optional().describe("Environment variable that holds the API key.")
    .meta({ examples: ["OPENAI_API_KEY"] }),
  headers: header_values.describe("Headers sent with every request.").prefault({}),
  body: z.record(z.string(), z.json()).default({}).describe(
    "Additional fields of every request, such as `reasoning_effort` or `top_p`.",
  ),
  price: llm_price.optional().describe("Price of the model, from which the cost of its requests is computed.")
    .meta({ examples: [{ input_per_million: 0.25, output_per_million: 2 }] }),
});

/** How a language model is sampled, to be spread into the schema of a plugin's settings beside its `endpoint`. */
export const llm_sampling = {
  temperature: z.number().min(0).max(2).optional().describe(
    "Sampling temperature. Default: 0, or the endpoint's own default if it rejects the field.",
  ).meta({ examples: [0] }),
  max_tokens: z.int().min(1).default(2048).describe(
    "Maximum tokens of a reply; a reasoning model needs room for its reasoning too.",
  ),
  timeout_secs: z.number().positive().default(60).describe("Time limit for one try of a request."),
  seed: z.int().min(0).optional().describe("Seed of the sampling, sent to endpoints that take one. Default: none.")
    .meta({ examples: [7] }),
};
