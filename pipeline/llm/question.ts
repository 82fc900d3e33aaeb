/**
 * A request before it is sent: its address, the content that determines its reply, and the key shared by equal
 * requests. Secrets that it is sent with (keys, headers, a user in the address) are registered for redaction here, and
 * are not part of the content.
 * @module
 */
import { createHash } from "node:crypto";
import { canonical } from "../common/json.ts";
import { protect, protectAddress, protectHeaders, redact } from "../common/redact.ts";
import { schemaProblem, uncheckedPatterns } from "../common/schema_check.ts";
import { HoneError, llm as say } from "../diagnostics/mod.ts";
import type { ChatMessage, Json, JsonObject } from "../events.ts";
import type { LlmEndpoint, LlmRequest } from "../plugin.ts";
import { anthropic } from "./anthropic_messages.ts";
import type { Api } from "./llm_api.ts";
import { openai } from "./openai_chat.ts";

/** A valid request. */
export interface Question {
  /** SHA-256 of `content`, in hexadecimal. */
  key: string;
  /** Everything that the reply depends on, as a copy in plain JSON. */
  content: JsonObject;
  messages: ChatMessage[];
  request: LlmRequest;
  api: Api;
  /** The address, without a user. */
  url: string;
  /** The address's user, as a header. */
  basic?: string;
}

const APIS: Record<LlmEndpoint["api"], Api> = { openai, anthropic };

/** Throws a HoneError if the address or the schema is invalid. */
export function questionOf(request: LlmRequest): Question {
  const { endpoint, messages, max_tokens, temperature = 0, seed, schema } = request;
  const { base, url, basic } = addressOf(endpoint);
  protect([keyOf(endpoint) ?? ""]);
  protectHeaders(endpoint.headers ?? {});
  const problem = schema && (schemaProblem(schema) ?? uncheckedPatterns(schema)[0]);
  if (problem) throw new HoneError(say.bad_schema(endpoint.model, problem));
  const text = canonical({
    api: endpoint.api,
    base_url: redact(base),
    model: endpoint.model,
    messages: messages as unknown as Json,
    max_tokens,
    temperature,
    ...(seed !== undefined && { seed }),
    ...(schema && { schema }),
    body: endpoint.body ?? {},
  });
  const content = JSON.parse(text) as JsonObject;
  return {
    key: createHash("sha256").update(text).digest("hex"),
    content,
    messages: content.messages as unknown as ChatMessage[],
    request,
    api: APIS[endpoint.api],
    url,
    ...(basic !== undefined && { basic }),
  };
}

/** The API key of an endpoint from the environment, or undefined. */
export function keyOf({ api_key_env }: LlmEndpoint): string | undefined {
  return (api_key_env && Deno.env.get(api_key_env)) || undefined;
}

function addressOf({ api, base_url }: LlmEndpoint): { base: string; url: string; basic?: string } {
  const address = URL.canParse(base_url) ? new URL(base_url) : undefined;
  if (!address || !/^https?:$/.test(address.protocol)) {
    throw new HoneError(say.bad_address(base_url.replace(/^(.*\/\/)?.*@/s, "$1").replace(/[?#].*$/s, "")));
  }
  protectAddress(base_url);
  const [user, password] = [decoded(address.username), decoded(address.password)];
  const basic = btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${password}`)));
  const has_user = user !== "" || password !== "";
  const { origin, search } = address;
  const path = address.pathname.replace(/\/+$/, "");
  return {
    base: origin + path + search,
    url: origin + APIS[api].path(path) + search,
    ...(has_user && { basic: `Basic ${basic}` }),
  };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
