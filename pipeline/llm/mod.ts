/**
 * The run's client for language models: any OpenAI-compatible endpoint and the Anthropic API; calls are recorded,
 * cached by content, budgeted, redacted and on the tape. A run creates one and passes each stage `client.for(stage,
 * signal)`.
 * @module
 */
export { LlmClient, type LlmClientOptions } from "./llm_client.ts";
export { type Spent, spentBefore } from "./budget.ts";
