/**
 * The HTTP service through which other processes reach a live run: on loopback, with a token that only the folder's owner
 * can read.
 * @module
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Bus } from "../bus.ts";
import { Semaphore } from "../common/semaphore.ts";
import { shutDown } from "../common/shut_down.ts";
import { writeText } from "../common/write_aside.ts";
import type { HoneError } from "../diagnostics/mod.ts";
import type { Envelope, Label } from "../events.ts";
import type { QueryLimits, Row, Store } from "./store.ts";

/** The file in a live run's folder that says where its service listens. */
export const CONTROL = "control.json";

/** Limits of a query of a live run that sets none: its result passes through the run's process. */
export const QUERY_LIMITS = { max_rows: 10_000_000, max_bytes: 256_000_000, timeout_secs: 600 };
/** Bytes that wait for a slow reader of events; it misses what comes while there are more. */
const WATCH_BYTES = 8_000_000;
/** Queries of a live run at once: each occupies a thread of DuckDB, which the run's own records need too. */
const QUERIES_AT_ONCE = 2;

/** The operations of a run that are available to other processes. */
export interface ControlOptions {
  run_dir: string;
  store: Store;
  bus: Bus;
  status: () => Record<string, unknown>;
  on_pause: () => void;
  on_cancel: () => void;
}

/** Serves the run on loopback until it is disposed. */
export async function serveControl(options: ControlOptions): Promise<AsyncDisposable> {
  const token = crypto.randomUUID() + crypto.randomUUID();
  const closing = new AbortController();
  const queries = new Semaphore(QUERIES_AT_ONCE);
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const refusal = refused(request, token, server.addr.port);
    return refusal ?? answer(request, options, queries, closing.signal);
  });
  const path = join(options.run_dir, CONTROL);
  await writeText(path, JSON.stringify({ port: server.addr.port, token, pid: Deno.pid }), { mode: 0o600 });
  return {
    async [Symbol.asyncDispose]() {
      await rm(path, { force: true });
      closing.abort();
      await shutDown(server);
    },
  };
}

function refused(request: Request, token: string, port: number): Response | null {
  const host = request.headers.get("host");
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}`) return new Response("wrong host", { status: 403 });
  if (request.headers.get("authorization") !== `Bearer ${token}`) return new Response("wrong token", { status: 401 });
  return null;
}

async function answer(
  request: Request,
  options: ControlOptions,
  queries: Semaphore,
  closing: AbortSignal,
): Promise<Response> {
  const { pathname } = new URL(request.url);
  switch (`${request.method} ${pathname}`) {
    case "GET /status":
      return Response.json(options.status());
    case "POST /query":
      return await queried(options.store, queries, request, closing);
    case "GET /watch":
      return watched(options.bus, closing);
    case "POST /pause":
      options.on_pause();
      return Response.json({});
    case "POST /label":
      for (const label of await request.json() as Label[]) await options.bus.publish("label", "label.given", label);
      return Response.json({});
    case "POST /cancel":
      options.on_cancel();
      return Response.json({});
    default:
      return new Response("not found", { status: 404 });
  }
}

/**
 * Answers a query. The body begins at once, with white space, because only a client that is being answered is missed
 * when it goes away; the query is then interrupted.
 */
async function queried(store: Store, queries: Semaphore, request: Request, closing: AbortSignal): Promise<Response> {
  const { sql, ...limits } = await request.json() as { sql: string } & QueryLimits;
  const left = new AbortController();
  const signal = AbortSignal.any([left.signal, closing]);
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      controller.enqueue(encoder.encode("\n"));
      const answered = await answerOf(() =>
        queries.use(() => store.read(sql, { ...QUERY_LIMITS, ...limits }, signal), signal)
      );
      if (left.signal.aborted) return;
      controller.enqueue(encoder.encode(answered));
      controller.close();
    },
    cancel: () => left.abort(new Error("the client went away")),
  });
  return new Response(body, { headers: { "content-type": "application/json" } });
}

/** The rows, or why there are none, as JSON. */
async function answerOf(rows: () => Promise<Row[]>): Promise<string> {
  try {
    return JSON.stringify({ rows: await rows() });
  } catch (error) {
    const { code, message, hint } = error as HoneError;
    return JSON.stringify({ error: { code: typeof code === "string" ? code : "QUERY_FAILED", message, hint } });
  }
}

/** New events as JSON lines until the run closes; a slow reader misses events and never blocks the run. */
function watched(bus: Bus, closing: AbortSignal): Response {
  const encoder = new TextEncoder();
  let off = () => {};
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const end = () => {
        off();
        controller.close();
      };
      const stop = bus.tap((envelope) => {
        const last = envelope.type === "run.ended";
        if ((controller.desiredSize ?? 0) < 0 && !last) return;
        controller.enqueue(encoder.encode(toLine(envelope)));
        if (last) end();
      });
      closing.addEventListener("abort", end, { once: true });
      off = () => {
        stop();
        closing.removeEventListener("abort", end);
      };
    },
    cancel: () => off(),
  }, new ByteLengthQueuingStrategy({ highWaterMark: WATCH_BYTES }));
  return new Response(body, { headers: { "content-type": "application/x-ndjson" } });
}

/** An envelope as one line of JSON, with typed arrays as plain arrays. */
export function toLine(envelope: Envelope): string {
  return JSON.stringify(
    envelope,
    (_key, value) => ArrayBuffer.isView(value) ? Array.from(value as Int32Array) : value,
  ) + "\n";
}
