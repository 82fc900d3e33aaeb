/**
 * OpenAI's Chat Completions API, using only fields that compatible endpoints support as well. A schema is sent as
 * `strict` if it is in the subset that OpenAI requires for that.
 * @module
 */
import { type OpenAiAnswer, written } from "../chat/openai_answer.ts";
import { splitReasoning } from "../chat/formats.ts";
import { isObject } from "../common/json.ts";
import type { ChatMessage, Json, JsonObject } from "../events.ts";
import { type Api, REPLY_NAME, type Round, type Said, usageOf } from "./llm_api.ts";

/** `POST {base_url}/chat/completions`. */
export const openai: Api = {
  answer: "an OpenAI chat completion",
  schema_words: /response[ _]format|json[ _]schema|structured[ _-]?outputs?|guided|grammar|schema/i,
  path: (path) => `${path}/chat/completions`,
  headers: (key) => ({ ...(key !== undefined && { authorization: `Bearer ${key}` }) }),
  body,
  read,
};

function body({ model, messages, max_tokens, temperature, seed, schema, body: more }: Round): JsonObject {
  return {
    ...more,
    model,
    messages: messages.map(message),
    max_tokens,
    temperature,
    ...(seed !== undefined && { seed }),
    ...(schema && {
      response_format: {
        type: "json_schema",
        json_schema: { name: REPLY_NAME, strict: isStrict(schema), schema },
      },
    }),
  };
}

/** A message without fields that OpenAI does not support. */
function message({ role, content, tool_calls, tool_call_id }: ChatMessage): JsonObject {
  return {
    role,
    content,
    ...(tool_calls && tool_calls.length > 0 && { tool_calls: tool_calls as unknown as Json }),
    ...(tool_call_id !== undefined && { tool_call_id }),
  };
}

/** Requirements of `strict`: no additional properties, and all fields are required. */
function isStrict(schema: Json): boolean {
  if (Array.isArray(schema)) return schema.every(isStrict);
  if (!isObject(schema)) return true;
  const { type, properties, required, additionalProperties } = schema;
  if (type === "object" || properties !== undefined) {
    const names = isObject(properties) ? Object.keys(properties) : [];
    const all = Array.isArray(required) && names.every((name) => required.includes(name));
    if (additionalProperties !== false || (names.length > 0 && !all)) return false;
  }
  return Object.values(schema).every(isStrict);
}

function read(answer: JsonObject): Said | undefined {
  const { choices, usage, model } = answer as OpenAiAnswer;
  const choice = choices?.[0];
  if (!choice?.message) return undefined;
  const { content, refusal } = choice.message;
  const { text } = written(content);
  if (typeof text !== "string") throw new TypeError("the content is no text");
  const refused = refusal || (choice.finish_reason === "content_filter" ? "content_filter" : undefined);
  return {
    text: splitReasoning(text).rest.trim(),
    ended: refused ? "refusal" : choice.finish_reason === "length" ? "length" : "stop",
    ...(refused && { refusal: String(refused) }),
    model: typeof model === "string" ? model : "",
    usage: usageOf(usage?.prompt_tokens, usage?.completion_tokens),
  };
}
