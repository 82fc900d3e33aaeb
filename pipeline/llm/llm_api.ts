/**
 * The common model of the two APIs: the content of a request and of its response. Each API has one file that builds
 * request bodies and parses responses.
 * @module
 */
import type { ChatMessage, Json, JsonObject } from "../events.ts";

/** One request, independent of the API. */
export interface Round {
  model: string;
  messages: readonly ChatMessage[];
  max_tokens: number;
  temperature: number;
  seed?: number;
  /** Schema for the API to enforce; its root is an object. */
  schema?: JsonObject;
  /** Additional fields; those above take precedence. */
  body: JsonObject;
}

/** A model's reply, independent of the API. */
export interface Said {
  /** Its text, without reasoning. */
  text: string;
  /** Its JSON, if the API returns JSON separately from text. */
  json?: Json;
  ended: "stop" | "length" | "refusal";
  /** Text of a refusal. */
  refusal?: string;
  /** The model, as reported by the endpoint; otherwise empty. */
  model: string;
  /** Tokens, as reported by the endpoint, if it does. */
  usage?: { prompt_tokens: number; output_tokens: number };
}

/** One API. */
export interface Api {
  /** The path of its requests; `path` is that of `base_url`, without a trailing slash. */
  path(path: string): string;
  /** Headers of the API; `key` is the API key, if there is one. */
  headers(key: string | undefined): Record<string, string>;
  body(round: Round): JsonObject;
  /** Undefined if the response contains no reply. Throws if it is not a response of this API. */
  read(answer: JsonObject): Said | undefined;
  /** Name of a response, for messages. */
  answer: string;
  /** How error messages of endpoints name the field with the schema. */
  schema_words: RegExp;
}

/** Name of the schema in requests. */
export const REPLY_NAME = "reply";

/** Token counts of a response; undefined unless both are numbers. */
export function usageOf(prompt_tokens: unknown, output_tokens: unknown): Said["usage"] {
  return isCount(prompt_tokens) && isCount(output_tokens) ? { prompt_tokens, output_tokens } : undefined;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
