/**
 * The fetch of one server's transport: declared headers and tokens are sent only to the server's own origin, the size
 * of a response is limited, and a token that the server rejects is refreshed once. Redirects to another origin are
 * rejected by the transport, whose signal aborts requests in progress when it closes.
 * @module
 */
import { extractWWWAuthenticateParams } from "@modelcontextprotocol/client";
import { bounded, boundedEvents } from "../../common/bounded_body.ts";
import type { OAuth } from "../auth/oauth.ts";

/** Too many requests: the server did not carry this one out. */
export class TooManyRequests extends Error {
  override name = "TooManyRequests";
  readonly status = 429;

  constructor(
    /** Seconds that the server asks to wait. */
    readonly retry_after_secs: number | undefined,
    text: string,
  ) {
    super(text);
  }
}

const MAX_RENEWALS = 2;

/** What a server's requests need. */
export interface FetchOptions {
  url: string;
  headers: Record<string, string>;
  auth?: OAuth;
  /** Bytes of one answer, or of one event of a stream that the server keeps open. */
  max_message_bytes: number;
}

/** A fetch for one server. Rejects with `TooManyRequests` where the answer is 429. */
export function serverFetch(options: FetchOptions): (url: string | URL, init?: RequestInit) => Promise<Response> {
  const { headers: declared, auth } = options;
  const origin = new URL(options.url).origin;
  const adds = auth !== undefined || Object.keys(declared).length > 0;
  return async (url, init = {}) => {
    const own = adds && new URL(url).origin === origin;
    const send = async (): Promise<[Response, string | undefined]> => {
      if (!own) return [limited(await fetch(url, init)), undefined];
      const headers = new Headers(init.headers);
      for (const [name, value] of Object.entries(declared)) {
        if (!headers.has(name)) headers.set(name, value);
      }
      const token = await auth?.token();
      if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
      return [limited(await fetch(url, { ...init, headers })), token];
    };
    /** Only the stream that is opened with GET may go on for ever. */
    const limited = (response: Response) =>
      init.method !== "POST" && /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "")
        ? boundedEvents(response, options.max_message_bytes)
        : bounded(response, options.max_message_bytes);
    let [response, token] = await send();
    // A token may end on its way, more than once where the machine is busy and the token short-lived.
    for (let renewals = 0; auth && own && renewals < MAX_RENEWALS && renewable(response); renewals++) {
      await response.body?.cancel();
      await auth.renew(token, response);
      const refused = token;
      [response, token] = await send();
      if (token === refused) break;
    }
    if (response.status === 429) throw await tooMany(response);
    return response;
  };
}

/** 403 is about this token only where it says so. */
function renewable(response: Response): boolean {
  if (response.status !== 403) return response.status === 401;
  return extractWWWAuthenticateParams(response).error === "insufficient_scope";
}

async function tooMany(response: Response): Promise<TooManyRequests> {
  const text = (await response.text().catch(() => "")).slice(0, 200);
  return new TooManyRequests(retryAfter(response.headers.get("retry-after")), text);
}

/** Seconds of a `Retry-After` header, given as seconds or as a date. */
export function retryAfter(header: string | null, now = Date.now()): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}
