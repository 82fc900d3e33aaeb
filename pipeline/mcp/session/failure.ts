/**
 * Causes of failed connections to servers: an exited program, a refused connection, a certificate, an HTTP error, a web
 * page. Also what to try next.
 * @module
 */
import { ProtocolError, SdkError, SdkErrorCode } from "@modelcontextprotocol/client";
import { findCause, innermost } from "../../common/causes.ts";
import { withoutHanded } from "../../common/redact.ts";
import { type Diagnostic, HoneError, mcp } from "../../diagnostics/mod.ts";
import { TooManyRequests } from "./fetch.ts";
import type { Endpoint, OpenTransport } from "./transport.ts";

type Next = "legacy" | "patient" | "sse";

/** Why connecting failed, and what to try next. */
export class Failure extends Error {
  constructor(readonly error: HoneError, readonly next?: Next) {
    super(error.message);
  }
}

/** The limits of the attempt. */
export interface Bounds {
  limit: AbortSignal;
  secs: number;
  stop?: AbortSignal;
  /** The probe was not answered within its time limit. */
  unanswered: boolean;
}

const BODY_CHARS = 300;
const NETWORK: [RegExp, string, string?][] = [
  [/connection refused/i, "connection refused", "check that it is running and that the port is right"],
  [/dns error|lookup address|Name or service/i, "there is no host of this name", "check the host of the URL"],
  [/connection reset|connection closed|broken pipe/i, "the connection was closed"],
  [/network is unreachable|no route to host/i, "there is no route to it"],
];

/** The failure of an attempt to connect; errors that say enough come back as they are. */
export function explain(
  server: string,
  endpoint: Endpoint,
  transport: OpenTransport,
  error: unknown,
  { limit, secs, stop, unanswered }: Bounds,
): unknown {
  const told = findCause(error, HoneError);
  if (told || stop?.aborted) return told ?? error;
  const failure = (diagnostic: Diagnostic, next?: Next) =>
    new Failure(new HoneError(diagnostic, { cause: error }), next);
  const silent = error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout;
  if (limit.aborted || silent) {
    return failure(mcp.start_timeout(server, secs, transport.tail ?? ""), limit.aborted ? undefined : "legacy");
  }
  const message = error instanceof Error ? innermost(error) : String(error);
  if (endpoint.kind === "stdio") {
    const cause = transport.cause ? `it ${transport.cause}` : message;
    const image = endpoint.spec.container?.image;
    const patient = error instanceof ProtocolError && unanswered ? "patient" : undefined;
    return failure(
      mcp.start_failed(server, cause, transport.tail ?? "", image),
      transport.cause ? "legacy" : patient,
    );
  }
  const refusal = refusalOf(error);
  if (refusal) {
    const { status, text, retry_after_secs } = refusal;
    const wrong = status >= 400 && status < 500 && ![401, 403, 429].includes(status);
    const answer = mcp.http_status(server, endpoint.url, status, text, retry_after_secs);
    return failure(answer, wrong ? "sse" : undefined);
  }
  if (/^\[\s*\{\s*"code": "invalid_/.test(message)) {
    return failure(mcp.not_mcp(server, endpoint.url, "JSON that is not JSON-RPC"), "sse");
  }
  const page = /content type: (\S+)/i.exec(message)?.[1];
  if (page !== undefined) return failure(mcp.not_mcp(server, endpoint.url, page.replace(/;$/, "")), "sse");
  return failure(networkProblem(server, endpoint.url, message), "sse");
}

function networkProblem(server: string, url: string, message: string): Diagnostic {
  const certificate = /invalid peer certificate: (?:Other\(OtherError\()?(\w+)/.exec(message)?.[1];
  if (certificate !== undefined) return mcp.tls(server, url, `its certificate is not valid here (${certificate})`);
  if (/InvalidContentType|corrupt message|tls handshake|received fatal alert/i.test(message)) {
    return mcp.tls(server, url, "it does not support TLS, or only outdated versions");
  }
  const [, cause, hint] = NETWORK.find(([pattern]) => pattern.test(message)) ?? [undefined, message];
  return mcp.unreachable(server, url, cause, hint);
}

interface Refusal {
  status: number;
  text: string;
  retry_after_secs?: number;
}

function refusalOf(error: unknown): Refusal | undefined {
  const many = findCause(error, TooManyRequests);
  if (many) return { status: 429, text: bodyText(many.message), retry_after_secs: many.retry_after_secs };
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at.name === "UnauthorizedError") return { status: 401, text: "" };
    const { data, status, code } = at as {
      data?: { status?: unknown; text?: unknown };
      status?: unknown;
      code?: unknown;
    };
    const found = data?.status ?? status ?? code;
    if (typeof found !== "number" || found < 300 || found >= 600) continue;
    const elsewhere = /Redirect to (\S+) not followed/.exec(at.message)?.[1];
    if (elsewhere !== undefined) {
      return { status: found, text: `it redirects to ${elsewhere}, which is another origin or another method` };
    }
    return { status: found, text: bodyText(typeof data?.text === "string" ? data.text : at.message) };
  }
}

/** What a refusal's body says: an error's message, a page's title, or its first words. */
function bodyText(whole: string): string {
  const body = withoutHanded(whole);
  try {
    const { error, error_description, message, detail } = JSON.parse(body);
    const said = error?.message ?? error_description ?? message ?? detail ?? error;
    if (typeof said === "string") return said.slice(0, BODY_CHARS);
  } catch {
    // Not JSON: shown as the text it is.
  }
  const title = /<title>([^<]*)<\/title>/i.exec(body)?.[1];
  return (title ?? body.replace(/<[^>]*>/g, " ")).replace(/\s+/g, " ").trim().slice(0, BODY_CHARS);
}
