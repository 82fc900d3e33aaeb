/**
 * Access to a live run from other processes: a lock that names the process using the folder, and a small HTTP service
 * on loopback with a token that only the folder's owner can read. `openRun` is the client; it reads the file directly
 * once the run has ended.
 * @module
 */
import { readFileSync } from "node:fs";
import { readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import type { Bus } from "../bus.ts";
import { control as messages, HoneError } from "../diagnostics/mod.ts";
import type { Envelope } from "../events.ts";
import { type Row, Store } from "./store.ts";
import { shutDown } from "../common/shut_down.ts";

const LOCK = "run.lock";
const CONTROL = "control.json";

/** Locks the folder for this process. Takes over the lock of an exited process; throws a HoneError for a live one. */
export async function lockRun(run_dir: string): Promise<AsyncDisposable> {
  const path = join(run_dir, LOCK);
  for (;;) {
    using file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
    // An advisory file lock serializes processes here; the kernel releases it when its process exits.
    await file.lock(true);
    if (!(await stillAt(path, file))) continue;
    const text = new Uint8Array(1000);
    const holder = holderIn(new TextDecoder().decode(text.subarray(0, await file.read(text) ?? 0)));
    if (holder !== null) throw new HoneError(messages.run_locked(run_dir, holder));
    // Renamed into place, so that no process reads a partial lock; a process that waited for the old file sees the
    // change.
    await writeFile(`${path}.new`, JSON.stringify({ pid: Deno.pid, started: processStart(Deno.pid) }), { mode: 0o600 });
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
  return holderIn(await readFile(join(run_dir, LOCK), "utf8").catch(() => ""));
}

function holderIn(lock: string): number | null {
  try {
    const { pid, started } = JSON.parse(lock);
    return alive(pid) && processStart(pid) === started ? pid : null;
  } catch {
    return null;
  }
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
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const refusal = refused(request, token, server.addr.port);
    return refusal ?? answer(request, options, closing.signal);
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

async function answer(request: Request, options: ControlOptions, closing: AbortSignal): Promise<Response> {
  const { pathname } = new URL(request.url);
  switch (`${request.method} ${pathname}`) {
    case "GET /status":
      return Response.json(options.status());
    case "POST /query":
      return await queried(options.store, (await request.json()).sql);
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

async function queried(store: Store, sql: string): Promise<Response> {
  try {
    return Response.json({ rows: await store.read(sql) });
  } catch (error) {
    const { code, message, hint } = error as HoneError;
    return Response.json({ error: { code: code ?? "QUERY_FAILED", message, hint } }, { status: 400 });
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
        if ((controller.desiredSize ?? 0) < -1000 && !last) return;
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
  });
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
  query(sql: string): Promise<Row[]>;
  /** Progress of a live run; null after its end. */
  status(): Promise<Record<string, unknown> | null>;
  /** New events, until the run ends. */
  watch(signal?: AbortSignal): AsyncGenerator<Envelope>;
  pause(): Promise<void>;
  cancel(): Promise<void>;
}

/** Opens a run for reading: through its process while the run is live, otherwise from its file. */
export async function openRun(run_dir: string): Promise<RunClient> {
  if ((await lockHolder(run_dir)) !== null) {
    const found = await readFile(join(run_dir, CONTROL), "utf8").catch(() => null);
    if (found === null) throw new HoneError(messages.run_starting(run_dir));
    return liveClient(run_dir, JSON.parse(found));
  }
  const store = await readStore(run_dir);
  if (store === null) return await openRun(run_dir);
  const ended = () => Promise.reject(new HoneError(messages.run_not_live(run_dir)));
  return {
    run_dir,
    live: false,
    query: (sql) => store.read(sql),
    status: () => Promise.resolve(null),
    async *watch() {},
    pause: ended,
    cancel: ended,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** The run's file; null if a process has locked the folder meanwhile. */
async function readStore(run_dir: string): Promise<Store | null> {
  try {
    return await Store.open(join(run_dir, "run.duckdb"), { run_id: basename(run_dir), mode: "read" });
  } catch (error) {
    const taken = error instanceof HoneError && error.code === "RUN_BUSY" && (await lockHolder(run_dir)) !== null;
    if (!taken) throw error;
    return null;
  }
}

function liveClient(run_dir: string, { port, token }: { port: number; token: string }): RunClient {
  const ask = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { ...init, headers });
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({
      error: { code: "CONTROL_FAILED", message: `HTTP ${response.status}` },
    }));
    throw new HoneError(error);
  };
  return {
    run_dir,
    live: true,
    query: async (sql) => (await (await ask("/query", { method: "POST", body: JSON.stringify({ sql }) })).json()).rows,
    status: async () => await (await ask("/status")).json(),
    async *watch(signal?: AbortSignal) {
      const { body } = await ask("/watch", { signal });
      let rest = "";
      for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop()!;
        for (const line of lines) yield JSON.parse(line) as Envelope;
      }
    },
    pause: async () => void await (await ask("/pause", { method: "POST" })).body?.cancel(),
    cancel: async () => void await (await ask("/cancel", { method: "POST" })).body?.cancel(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** A run folder and its facts that do not need the database. */
export interface FoundRun {
  id: string;
  run_dir: string;
  modified: number;
  /** Process that is using it, or null. */
  pid: number | null;
}

/** All run folders, newest first. */
export async function listRuns(runs_dir: string): Promise<FoundRun[]> {
  const names = await readdir(runs_dir).catch(() => [] as string[]);
  const found = await Promise.all(names.map(async (id) => {
    const run_dir = join(runs_dir, id);
    const info = await stat(join(run_dir, "run.duckdb")).catch(() => null);
    return info && { id, run_dir, modified: info.mtimeMs, pid: await lockHolder(run_dir) };
  }));
  return found.filter((run) => run !== null).sort((a, b) => b.modified - a.modified);
}

/** Finds a run by folder, id, unique prefix of an id, or `latest`. Returns its absolute folder. */
export async function findRun(word: string, runs_dir = "runs"): Promise<string> {
  if (await stat(join(word, "run.duckdb")).catch(() => null)) return resolve(word);
  const runs = await listRuns(runs_dir);
  if (word === "latest" && runs[0]) return resolve(runs[0].run_dir);
  const exact = runs.find(({ id }) => id === word);
  const matching = exact ? [exact] : runs.filter(({ id }) => id.startsWith(word));
  if (matching.length === 1) return resolve(matching[0]!.run_dir);
  throw new HoneError(
    messages.no_such_run(
      word,
      resolve(runs_dir),
      matching.length ? matching.map(({ id }) => id) : runs.map(({ id }) => id),
    ),
  );
}
