/**
 * An OpenAI-compatible endpoint on 127.0.0.1 that says what a script says: for tests and benchmarks. It answers as
 * hone's own worker does, token ids and logprobs included, and keeps what it was asked.
 * @module
 */
import type { ChatMessage, Json, JsonObject } from "../events.ts";
import type { Policy } from "../plugin.ts";
import { shutDown } from "../shut_down.ts";

/** One request body, as far as scripts look at it. */
export interface ScriptedRequest {
  model: string;
  messages: ChatMessage[];
  tools?: JsonObject[];
  seed: number;
  rollout?: string;
  logprobs?: boolean;
  return_token_ids?: boolean;
  max_tokens: number;
  temperature: number;
}

/** What to answer: text, or parts of an OpenAI response, or a refusal, or `hang` for never. */
export type ScriptedReply =
  | string
  | { message?: JsonObject; finish_reason?: string; text?: string }
  | { status: number; body: Json; headers?: Record<string, string> }
  | "hang";

/** A running endpoint. */
export interface ScriptedEndpoint extends AsyncDisposable {
  policy: Policy;
  requests: ScriptedRequest[];
  /** Handles that were released. */
  released: string[];
  authorizations: (string | null)[];
}

/** Starts an endpoint; `script` sees each request and its number. `policy.context_tokens` is what `/models` says. */
export function scriptedEndpoint(
  script: (request: ScriptedRequest, index: number) => ScriptedReply,
  policy: Partial<Policy> = {},
): ScriptedEndpoint {
  const state = {
    requests: [] as ScriptedRequest[],
    released: [] as string[],
    authorizations: [] as (string | null)[],
  };
  const closing = new AbortController();
  const handler = async (request: Request): Promise<Response> => {
    if (request.method === "GET") {
      const { context_tokens: max_model_len } = policy;
      return Response.json({ object: "list", data: [{ id: "scripted", ...(max_model_len && { max_model_len }) }] });
    }
    const body = await request.json();
    if (request.url.endsWith("/rollouts/release")) {
      state.released.push(body.rollout);
      return Response.json({});
    }
    state.authorizations.push(request.headers.get("authorization"));
    state.requests.push(body);
    const reply = script(body, state.requests.length - 1);
    if (reply === "hang") {
      await new Promise((resolve) => closing.signal.addEventListener("abort", resolve, { once: true }));
    }
    if (typeof reply === "object" && "status" in reply) {
      return Response.json(reply.body, { status: reply.status, headers: reply.headers });
    }
    return Response.json(completion(body, reply));
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, handler);
  return {
    ...state,
    policy: {
      name: "base",
      version: 0,
      base_url: `http://127.0.0.1:${server.addr.port}/v1`,
      model: "scripted",
      tokens: "exact",
      rollout_handles: true,
      tool_format: "json",
      context_tokens: 0,
      sampling: { temperature: 1, top_p: 1, max_tokens: 256 },
      ...policy,
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await shutDown(server);
    },
  };
}

/** One id a character, so that ids can be checked by eye. */
function completion(request: ScriptedRequest, reply: Exclude<ScriptedReply, { status: number }>): JsonObject {
  const { text = "", message, finish_reason = "stop" } = typeof reply === "string" ? { text: reply } : reply;
  const ids = [...text].map((char) => char.codePointAt(0)!);
  const prompt = [...request.messages.map(({ content }) => content).join("\n")].map((char) => char.codePointAt(0)!);
  const exact: JsonObject = request.return_token_ids
    ? { token_ids: ids, logprobs: { content: ids.map((id) => ({ token: String.fromCodePoint(id), logprob: -0.5 })) } }
    : {};
  return {
    ...(request.return_token_ids ? { prompt_token_ids: prompt } : {}),
    choices: [{ index: 0, message: { role: "assistant", content: text, ...message }, finish_reason, ...exact }],
    usage: { prompt_tokens: prompt.length, completion_tokens: ids.length },
  };
}
