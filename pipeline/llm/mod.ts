/**
 * The run's one client for language models: any OpenAI-compatible endpoint and the Anthropic API, recorded, cached by
 * content, budgeted, redacted, on tape. A run makes one and gives each stage `client.for(stage, signal)`.
 * @module
 */
export { LlmClient, type LlmClientOptions } from "./llm_client.ts";
export { type Spent, spentBefore } from "./budget.ts";
