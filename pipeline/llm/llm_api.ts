/**
 * What the two APIs have in common: what goes into one request, and what comes out of its answer. Each API is one file
 * that turns the former into a body and reads the latter.
 * @module
 */
import type { ChatMessage, Json, JsonObject } from "../events.ts";

/** One request, as both APIs say it in their own words. */
export interface Round {
  model: string;
  messages: readonly ChatMessage[];
  max_tokens: number;
  temperature: number;
  seed?: number;
  /** Schema that the API itself is to keep the model to; its root is an object. */
  schema?: JsonObject;
  /** Further fields; those above come before them. */
  body: JsonObject;
}

/** What a model said, whichever API brought it. */
export interface Said {
  /** Its text, without thoughts. */
  text: string;
  /** Its reply where the API gives JSON apart from text. */
  json?: Json;
  ended: "stop" | "length" | "refusal";
  /** Words of a refusal. */
  refusal?: string;
  /** The model as the endpoint names it; empty where it does not. */
  model: string;
  /** Tokens as the endpoint counts them, where it does. */
  usage?: { prompt_tokens: number; output_tokens: number };
}

/** One API. */
export interface Api {
  /** The address of its requests; `path` is that of `base_url`, without a slash at its end. */
  path(path: string): string;
  /** Its own headers; `key` is the API key, where there is one. */
  headers(key: string | undefined): Record<string, string>;
  body(round: Round): JsonObject;
  /** Undefined where the answer holds no reply at all. Throws where it is not of this API. */
  read(answer: JsonObject): Said | undefined;
  /** What an answer is, in words. */
  answer: string;
  /** How its endpoints name what carries the schema, in refusals. */
  schema_words: RegExp;
}

/** The name that the schema goes by in requests. */
export const REPLY_NAME = "reply";

/** Counts of an answer: undefined unless both are numbers. */
export function usageOf(prompt_tokens: unknown, output_tokens: unknown): Said["usage"] {
  return isCount(prompt_tokens) && isCount(output_tokens) ? { prompt_tokens, output_tokens } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
