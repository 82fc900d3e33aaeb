/**
 * A proxy between a rollout and its policy's endpoint, on 127.0.0.1, transparent to rollout plugins. Every rollout has
 * its own unguessable address, so that requests can be attributed to it; requests are forwarded unchanged, including
 * keys.
 * @module
 */
import { Buffer } from "node:buffer";
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Json } from "../events.ts";
import { MAX_ANSWER_BYTES } from "../chat/endpoint_http.ts";
import { boundedText } from "../common/bounded_body.ts";
import { digest } from "../common/digest.ts";
import { isObject } from "../common/json.ts";
import type { Policy } from "../plugin.ts";
import { type AskedReply, lastWords } from "./lines.ts";
import { messageOf } from "../diagnostics/mod.ts";

/** A request that a rollout made of its policy. */
export interface Question {
  /** Path below the policy's `base_url`. */
  path: string;
  body: Json;
  /** Asks the policy's own endpoint. */
  forward(): Promise<Answer>;
}

/** An answer as it goes back. */
export interface Answer {
  status: number;
  body: Json;
  retry_after?: string;
}

/** Answers the questions of one rollout. */
export type Clerk = (question: Question) => Promise<Answer>;

interface Counter {
  policy: Policy;
  clerk: Clerk;
}

/** The endpoints of all rollouts in flight. */
export class ReplyDesk implements AsyncDisposable {
  readonly #counters = new Map<string, Counter>();
  readonly #port: number;

  private constructor(private readonly server: Server) {
    this.#port = (server.address() as AddressInfo).port;
    server.on("request", (request, response) => void this.#handle(request, response));
  }

  /** Listens. */
  static async open(): Promise<ReplyDesk> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
    return new ReplyDesk(server);
  }

  /** The policy as this rollout reaches it, and how to take that away again. */
  serve(policy: Policy, clerk: Clerk): { policy: Policy; close: () => void } {
    const id = randomUUID();
    this.#counters.set(id, { policy, clerk });
    const base_url = `http://127.0.0.1:${this.#port}/${id}`;
    return { policy: { ...policy, base_url }, close: () => this.#counters.delete(id) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#counters.clear();
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    try {
      const { status, body, retry_after } = await this.#answer(request, gone.signal);
      response.writeHead(status, {
        "content-type": typeof body === "string" ? "text/plain" : "application/json",
        ...(retry_after && { "retry-after": retry_after }),
      });
      response.end(typeof body === "string" ? body : JSON.stringify(body));
    } catch {
      // The client has disconnected, or its request cannot be read: there is no one to answer.
      response.destroy();
    }
  }

  async #answer(request: IncomingMessage, signal: AbortSignal): Promise<Answer> {
    const [, id = "", path] = /^\/([^/]+)(\/.*)$/.exec(request.url ?? "") ?? [];
    const counter = this.#counters.get(id);
    if (!counter || path === undefined) return { status: 404, body: { error: { message: "no such rollout" } } };
    const text = await whole(request);
    const forward = () => ask(counter.policy, path, text, request, signal);
    return await counter.clerk({ path, body: parsed(text), forward });
  }
}

/** What a question is matched by; `body` is masked. */
export function asked(path: string, body: Json): AskedReply {
  if (!isObject(body)) {
    return { asked: { messages: digest(body), tools: digest(null), settings: digest(path) }, last: "" };
  }
  const { messages = null, tools = null, rollout: _, ...settings } = body;
  return {
    asked: { messages: digest(messages), tools: digest(tools), settings: digest({ path, ...settings }) },
    last: lastWords(messages),
  };
}

/** A reply without token ids and logprobs: they would spell what was masked. */
export function withoutTokens(body: Json): Json {
  if (!isObject(body)) return body;
  const { prompt_token_ids: _, choices, ...rest } = body;
  if (!Array.isArray(choices)) return rest;
  return {
    ...rest,
    choices: choices.map((choice) => {
      if (!isObject(choice)) return choice;
      const { token_ids: _, logprobs: __, ...kept } = choice;
      return kept;
    }),
  };
}

/** Of this connection only, not of the request. */
const HOP = new Set(["host", "content-length", "connection", "transfer-encoding"]);

async function ask(
  policy: Policy,
  path: string,
  body: string,
  { headers, method = "POST" }: IncomingMessage,
  signal: AbortSignal,
): Promise<Answer> {
  const url = policy.base_url.replace(/\/$/, "") + path;
  const kept = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    HOP.has(name) || value === undefined ? [] : [[name, String(value)]]
  );
  try {
    const response = await fetch(url, { method, headers: kept, signal, ...(method === "POST" && { body }) });
    const retry_after = response.headers.get("retry-after") ?? undefined;
    const text = await boundedText(response, MAX_ANSWER_BYTES);
    return { status: response.status, body: parsed(text), retry_after };
  } catch (error) {
    signal.throwIfAborted();
    const cause = messageOf(error);
    return { status: 502, body: { error: { message: `the endpoint cannot be reached: ${cause}` } } };
  }
}

async function whole(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
