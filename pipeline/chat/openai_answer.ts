/**
 * An OpenAI-compatible chat completion, as far as hone reads it; any of its parts may be missing.
 * @module
 */
import type { JsonObject } from "../events.ts";
import type { ErrorBody } from "./endpoint_http.ts";

/** The answer to `POST /chat/completions`. */
export interface OpenAiAnswer {
  model?: string | null;
  prompt_token_ids?: number[] | null;
  policy_version?: number;
  error?: ErrorBody;
  choices?: Choice[] | null;
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number } | null;
  } | null;
}

/** One of its choices. */
export interface Choice {
  finish_reason?: string | null;
  token_ids?: number[] | null;
  logprobs?: { content?: { id?: number; logprob: number }[] | null } | null;
  message?: {
    content?: string | { type?: string; text?: string; thinking?: { text?: string }[] | string }[] | null;
    refusal?: string | null;
    reasoning?: string | null;
    reasoning_content?: string | null;
    tool_calls?: { id?: string | null; function?: { name?: string; arguments?: string | JsonObject | null } }[] | null;
  } | null;
}

/** Content as text; Mistral's API gives it in parts, thoughts among them. */
export function written(
  content: NonNullable<Choice["message"]>["content"],
): { text: string; thoughts: string } {
  if (!Array.isArray(content)) return { text: content ?? "", thoughts: "" };
  const thought = (part: (typeof content)[number]["thinking"]) =>
    typeof part === "string" ? part : (part ?? []).map(({ text = "" }) => text).join("");
  return {
    text: content.map(({ text = "" }) => text).join(""),
    thoughts: content.map(({ thinking }) => thought(thinking)).join(""),
  };
}
