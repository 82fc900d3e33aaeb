/**
 * Anthropic's Messages API. System messages are sent separately; tools that the conversation called are declared, as
 * the API requires, but not offered; a schema becomes the input of a tool that the model must call. There is no seed.
 * @module
 */
import { readJson } from "../chat/json_text.ts";
import { asObject, isObject } from "../common/json.ts";
import type { ChatMessage, Json, JsonObject } from "../events.ts";
import { type Api, REPLY_NAME, type Round, type Said, usageOf } from "./llm_api.ts";

/** `POST {base_url}/v1/messages`. */
export const anthropic: Api = {
  answer: "an Anthropic message",
  schema_words: /tool_choice|input_schema|\btools?\b|schema/i,
  path: (path) => `${path.replace(/\/v1$/, "")}/v1/messages`,
  headers: (key) => ({ "anthropic-version": "2023-06-01", ...(key !== undefined && { "x-api-key": key }) }),
  body,
  read,
};

function body({ model, messages, max_tokens, temperature, schema, body: more }: Round): JsonObject {
  const system = messages.filter(({ role }) => role === "system").map(({ content }) => content).join("\n\n");
  const said = messages.filter(({ role }) => role !== "system");
  const called = calledTools(said);
  const reply = { name: REPLY_NAME, description: "Takes your reply.", input_schema: schema ?? {} };
  const tools = [...called, ...(schema ? [reply] : [])];
  return {
    ...more,
    model,
    max_tokens,
    ...(system !== "" && { system }),
    messages: turns(said),
    temperature,
    ...(tools.length > 0 && {
      tools,
      tool_choice: schema ? { type: "tool", name: REPLY_NAME, disable_parallel_tool_use: true } : { type: "none" },
    }),
  };
}

function calledTools(messages: readonly ChatMessage[]): JsonObject[] {
  const names = messages.flatMap(({ tool_calls }) => (tool_calls ?? []).map((call) => call.function.name));
  return [...new Set(names)].map((name) => ({ name, input_schema: { type: "object" } }));
}

/** Messages as turns of user and assistant; results of one turn's calls are combined. */
function turns(messages: readonly ChatMessage[]): JsonObject[] {
  const made: { role: string; content: Json }[] = [];
  for (const [i, message] of messages.entries()) {
    if (message.role !== "tool") made.push(turn(message));
    else if (messages[i - 1]?.role !== "tool") made.push({ role: "user", content: [result(message)] });
    else (made.at(-1)!.content as JsonObject[]).push(result(message));
  }
  return made;
}

function turn({ role, content, tool_calls = [] }: ChatMessage): { role: string; content: Json } {
  if (tool_calls.length === 0) return { role, content };
  const calls = tool_calls.map(({ id, function: { name, arguments: given } }) => {
    const read = readJson(given.trim() || "{}");
    return { type: "tool_use", id, name, input: "value" in read ? asObject(read.value) ?? {} : {} };
  });
  return { role, content: [...(content === "" ? [] : [{ type: "text", text: content }]), ...calls] };
}

function result({ content, tool_call_id = "" }: ChatMessage): JsonObject {
  return { type: "tool_result", tool_use_id: tool_call_id, content };
}

function read({ content, stop_reason, model, usage }: JsonObject): Said | undefined {
  if (!Array.isArray(content)) throw new TypeError("the content is no list");
  const blocks = content.filter(isObject);
  const reply = blocks.find(({ type, name }) => type === "tool_use" && name === REPLY_NAME);
  const json = reply?.input;
  const text = blocks.flatMap(({ type, text }) => type === "text" && typeof text === "string" ? [text] : []).join("");
  const count = (name: string) => asObject(usage)?.[name];
  const cached = [count("cache_creation_input_tokens"), count("cache_read_input_tokens")];
  const prompt = [count("input_tokens"), ...cached.filter((value) => typeof value === "number")] as number[];
  return {
    text: json === undefined ? text.trim() : JSON.stringify(json),
    ...(json !== undefined && { json }),
    ended: ended(stop_reason),
    ...(stop_reason === "refusal" && { refusal: text.trim() || "stop_reason: refusal" }),
    model: typeof model === "string" ? model : "",
    usage: usageOf(prompt.reduce((sum, tokens) => sum + tokens, 0), count("output_tokens")),
  };
}

function ended(stop_reason: Json | undefined): Said["ended"] {
  if (stop_reason === "refusal") return "refusal";
  return stop_reason === "max_tokens" || stop_reason === "model_context_window_exceeded" ? "length" : "stop";
}
