/**
 * Access to a live run from other processes: a lock that names the process using the folder, and a small HTTP service
 * on loopback with a token that only the folder's owner can read. `openRun` is the client; it reads the file directly
 * once the run has ended.
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Bus } from "../bus.ts";
import { TimeUp, within } from "../common/deadline.ts";
import { boundedLines } from "../common/bounded_lines.ts";
import { readText } from "../common/read_text.ts";
import { Semaphore } from "../common/semaphore.ts";
import { control as messages, HoneError, messageOf } from "../diagnostics/mod.ts";
import type { Envelope } from "../events.ts";
import { DATABASE, readFacts, startedByName } from "./run_folder.ts";
import { type QueryLimits, type Row, Store } from "./store.ts";
import { shutDown } from "../common/shut_down.ts";

const LOCK = "run.lock";
const CONTROL = "control.json";

/** Time that a run's process has to answer, in seconds. */
const ANSWER_SECS = 10;
/** Limits of a query of a live run that sets none: its result passes through the run's process. */
const QUERY_LIMITS = { max_rows: 10_000_000, max_bytes: 256_000_000, timeout_secs: 600 };
/** Queries of a live run at once: each occupies a thread of DuckDB, which the run's own records need too. */
const QUERIES_AT_ONCE = 2;
/** Bytes that wait for a slow reader of events; it misses what comes while there are more. */
const WATCH_BYTES = 8_000_000;
/** Of one event. */
const MAX_EVENT_BYTES = 256_000_000;

/** Locks the folder for this process. Takes over the lock of an exited process; throws a HoneError for a live one. */
export async function lockRun(run_dir: string): Promise<AsyncDisposable> {
  const path = join(run_dir, LOCK);
  for (;;) {
    using file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
    // An advisory file lock serializes processes here; the kernel releases it when its process exits.
    await file.lock(true);
    if (!(await stillAt(path, file))) continue;
    const text = new Uint8Array(1000);
    const holder = holderIn(new TextDecoder().decode(text.subarray(0, await file.read(text) ?? 0)), run_dir);
    if (holder !== null) throw new HoneError(messages.run_locked(run_dir, holder));
    // Renamed into place, so that no process reads a partial lock; a process that waited for the old file sees the
    // change.
    const lock = { pid: Deno.pid, started: processStart(Deno.pid), folder: identity(run_dir) };
    await writeFile(`${path}.new`, JSON.stringify(lock), { mode: 0o600 });
    await rename(`${path}.new`, path);
    return { [Symbol.asyncDispose]: () => rm(path, { force: true }) };
  }
}

/** Whether the open file is still the one at the path. */
async function stillAt(path: string, file: Deno.FsFile): Promise<boolean> {
  const [mine, there] = await Promise.all([file.stat(), Deno.stat(path).catch(() => null)]);
  return there !== null && mine.ino === there.ino && mine.dev === there.dev;
}

/** The process that has locked the folder, or null. */
export async function lockHolder(run_dir: string): Promise<number | null> {
  return holderIn(await readText(join(run_dir, LOCK)).catch(() => ""), run_dir);
}

/** The live process of a lock; null also for the lock in a copy of a live run's folder. */
function holderIn(lock: string, run_dir: string): number | null {
  try {
    const { pid, started, folder = identity(run_dir) } = JSON.parse(lock);
    return folder === identity(run_dir) && alive(pid) && processStart(pid) === started ? pid : null;
  } catch {
    return null;
  }
}

/** Stays the same when the folder is moved, and differs for a copy. */
function identity(folder: string): string {
  return String(statSync(folder, { bigint: true }).ino);
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === "EPERM";
  }
}

/** Start time of a process in kernel ticks, to recognize a reused pid; null except on Linux. */
function processStart(pid: number): string | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8");
    return fields.slice(fields.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}

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
  await writeFile(path, JSON.stringify({ port: server.addr.port, token, pid: Deno.pid }), { mode: 0o600 });
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

/** A run, accessed from another process. */
export interface RunClient extends AsyncDisposable {
  run_dir: string;
  /** True while a process is using the run. */
  live: boolean;
  /** Rows of one read-only statement. Throws a HoneError if it fails or exceeds a limit. */
  query(sql: string, limits?: QueryLimits & { signal?: AbortSignal }): Promise<Row[]>;
  /** Progress of a live run; null after its end. */
  status(): Promise<Record<string, unknown> | null>;
  /** New events, until the run ends. */
  watch(signal?: AbortSignal): AsyncGenerator<Envelope>;
  pause(): Promise<void>;
  cancel(): Promise<void>;
}

/** Opens a run for reading: through its process while the run is live, otherwise from its file. */
export async function openRun(run_dir: string): Promise<RunClient> {
  const pid = await lockHolder(run_dir);
  if (pid !== null) return liveClient(run_dir, pid, await controlOf(run_dir, pid));
  const store = await readStore(run_dir);
  if (store === null) return await openRun(run_dir);
  const ended = () => Promise.reject(new HoneError(messages.run_not_live(run_dir)));
  return {
    run_dir,
    live: false,
    query: (sql, { signal, ...limits } = {}) => store.read(sql, limits, signal),
    status: () => Promise.resolve(null),
    async *watch() {},
    pause: ended,
    cancel: ended,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** How a live run is reached. */
interface Control {
  port: number;
  token: string;
}

async function controlOf(run_dir: string, pid: number): Promise<Control> {
  const text = await readText(join(run_dir, CONTROL)).catch((error) => {
    if (error.code === "ENOENT") throw new HoneError(messages.run_starting(run_dir));
    throw new HoneError(messages.run_silent(run_dir, pid, `its ${CONTROL} cannot be read: ${error.message}`));
  });
  try {
    const { port, token } = JSON.parse(text);
    if (Number.isInteger(port) && typeof token === "string") return { port, token };
  } catch {
    // said below, together with JSON of another form
  }
  throw new HoneError(messages.run_silent(run_dir, pid, `its ${CONTROL} is not what hone writes`));
}

/** The run's file; null if a process has locked the folder meanwhile. */
async function readStore(run_dir: string): Promise<Store | null> {
  try {
    return await Store.open(join(run_dir, DATABASE), { run_id: basename(run_dir), mode: "read" });
  } catch (error) {
    const taken = error instanceof HoneError && error.code === "RUN_BUSY" && (await lockHolder(run_dir)) !== null;
    if (!taken) throw error;
    return null;
  }
}

/** What a request to a live run needs besides its path. */
interface Asked {
  method?: "POST";
  body?: string;
  signal?: AbortSignal;
  /** Time limit for the answer. Default: ANSWER_SECS. */
  secs?: number;
}

function liveClient(run_dir: string, pid: number, control: Control): RunClient {
  const ask = <T>(path: string, asked: Asked, read: (response: Response) => Promise<T>): Promise<T> =>
    asking(run_dir, pid, asked, async (signal) => {
      const response = await send(control, path, { ...asked, signal });
      return await read(response);
    });
  const post = (path: string) => ask(path, { method: "POST" }, async ({ body }) => void await body?.cancel());
  return {
    run_dir,
    live: true,
    query: (sql, { signal, ...limits } = {}) => {
      const secs = (limits.timeout_secs ?? QUERY_LIMITS.timeout_secs) + ANSWER_SECS;
      const body = JSON.stringify({ sql, ...limits });
      return ask("/query", { method: "POST", body, signal, secs }, async (response) => {
        const { rows, error } = await response.json();
        if (error) throw new HoneError(error);
        return rows;
      });
    },
    status: () => ask("/status", {}, (response) => response.json()),
    async *watch(signal = new AbortController().signal) {
      const left = new AbortController();
      const both = AbortSignal.any([signal, left.signal]);
      try {
        const { body } = await asking(run_dir, pid, {}, (limit) => {
          // Only the first answer has a time limit; the events go on.
          limit.addEventListener("abort", () => left.abort(limit.reason), { once: true });
          return send(control, "/watch", { signal: both });
        });
        for await (const line of boundedLines(body!, MAX_EVENT_BYTES)) yield JSON.parse(line) as Envelope;
      } finally {
        left.abort();
      }
    },
    pause: () => post("/pause"),
    cancel: () => post("/cancel"),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Does `work` within the time limit; a process that does not answer is a HoneError. */
async function asking<T>(
  run_dir: string,
  pid: number,
  { signal = new AbortController().signal, secs = ANSWER_SECS }: Asked,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  try {
    return await within(secs, signal, work);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof HoneError) throw error;
    const cause = error instanceof TimeUp
      ? `it did not answer within ${secs} s`
      : `it did not answer: ${messageOf(error)}`;
    throw new HoneError(messages.run_silent(run_dir, pid, cause), { cause: error });
  }
}

async function send({ port, token }: Control, path: string, { method, body, signal }: Asked): Promise<Response> {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body, signal, headers });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({
    error: { code: "CONTROL_FAILED", message: `HTTP ${response.status}` },
  }));
  throw new HoneError(error);
}

/** A run folder and its facts that do not need the database. */
export interface FoundRun {
  /** Name of the folder. */
  id: string;
  /** The run's own id, which it keeps when the folder is renamed. */
  run_id: string;
  run_dir: string;
  /** When the run was last started or resumed, in milliseconds since the epoch. */
  started: number;
  /** When its records were last written. */
  modified: number;
  /** Process that is using it, or null. */
  pid: number | null;
}

/** All run folders, the last started first. A copy counts as started when its original was, and comes after it. */
export async function listRuns(runs_dir: string): Promise<FoundRun[]> {
  const names = await readdir(runs_dir).catch(() => [] as string[]);
  const found = await Promise.all(names.map(async (id) => {
    const run_dir = join(runs_dir, id);
    const info = await stat(join(run_dir, DATABASE)).catch(() => null);
    if (!info) return null;
    const facts = await readFacts(run_dir);
    const started = facts ? Date.parse(facts.started_at) : startedByName(run_dir) ?? info.mtimeMs;
    const run_id = facts?.run_id ?? id;
    return { id, run_id, run_dir, started, modified: info.mtimeMs, pid: await lockHolder(run_dir) };
  }));
  const copied = ({ id, run_id }: FoundRun) => Number(id !== run_id);
  return found.filter((run) => run !== null).sort((a, b) =>
    b.started - a.started || copied(a) - copied(b) || (a.id < b.id ? -1 : 1)
  );
}

/** Finds a run by folder, id, unique prefix of an id, or `latest`. Returns its absolute folder. */
export async function findRun(word: string, runs_dir = "runs"): Promise<string> {
  if (await stat(join(word, DATABASE)).catch(() => null)) return resolve(word);
  const runs = await listRuns(runs_dir);
  if (word === "latest" && runs[0]) return resolve(runs[0].run_dir);
  const matching = [
    runs.filter(({ id }) => id === word),
    runs.filter(({ run_id }) => run_id === word),
    runs.filter(({ id }) => id.startsWith(word)),
  ].find((some) => some.length > 0) ?? [];
  if (matching.length === 1) return resolve(matching[0]!.run_dir);
  throw new HoneError(
    messages.no_such_run(
      word,
      resolve(runs_dir),
      matching.length ? matching.map(({ id }) => id) : runs.map(({ id }) => id),
    ),
  );
}
