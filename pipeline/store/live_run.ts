/**
 * Access to a run from other processes: a lock that names the process using the folder, and the client of the service
 * (`run_control.ts`) of a live run. `openRun` reads the file directly once the run has ended.
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { TimeUp, within } from "../common/deadline.ts";
import { boundedLines } from "../common/bounded_lines.ts";
import { readText } from "../common/read_text.ts";
import { control as messages, HoneError, messageOf, reasonOf } from "../diagnostics/mod.ts";
import type { Envelope, Label } from "../events.ts";
import { CONTROL, QUERY_LIMITS } from "./run_control.ts";
import { DATABASE, readFacts, startedByName } from "./run_folder.ts";
import { type QueryLimits, type Row, Store } from "./store.ts";
import { writeText } from "../common/write_aside.ts";

const LOCK = "run.lock";

/** Time from the lock of a run until its process listens, opening the records of a large run included, in seconds. */
const STARTING_SECS = 60;
/** Time from the end of a process's connections to the end of the process, in milliseconds. */
const GOING_MS = 2000;
/** Time that a run's process has to answer, in seconds. */
const ANSWER_SECS = 10;
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
    const next = `${path}.new`;
    const lock = { pid: Deno.pid, started: processStart(Deno.pid), folder: identity(run_dir) };
    try {
      await writeText(next, JSON.stringify(lock), { mode: 0o600 });
      await rename(next, path);
    } catch (error) {
      await rm(next, { force: true });
      throw error;
    }
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

/** Start time of a process in kernel ticks, to recognize a reused pid; null for one that ended, and except on Linux. */
function processStart(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A process that nobody has waited for yet is listed, but has ended.
    return fields[0] === "Z" ? null : fields[19] ?? null;
  } catch {
    return null;
  }
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
  /** Records people's labels of a live run's rollouts (`labels.ts` does so for any run). */
  label(labels: Label[]): Promise<void>;
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
    label: ended,
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  };
}

/** How a live run is reached. */
interface Control {
  port: number;
  token: string;
}

async function controlOf(run_dir: string, pid: number): Promise<Control> {
  const { mtimeMs = Date.now() } = await stat(join(run_dir, LOCK)).catch(() => ({} as { mtimeMs?: number }));
  const unreachable = Date.now() - mtimeMs < STARTING_SECS * 1000
    ? messages.run_starting(run_dir)
    : messages.run_silent(run_dir, pid, `it has written no ${CONTROL}`);
  const text = await readText(join(run_dir, CONTROL)).catch((error) => {
    if (error.code === "ENOENT") throw new HoneError(unreachable);
    throw new HoneError(messages.run_silent(run_dir, pid, `its ${CONTROL} cannot be read: ${reasonOf(error)}`));
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
  const post = (path: string, body?: string) =>
    ask(path, { method: "POST", body }, async (answer) => void await answer.body?.cancel());
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
        yield* eventsOf(body!, run_dir, pid, signal);
      } finally {
        left.abort();
      }
    },
    pause: () => post("/pause"),
    cancel: () => post("/cancel"),
    label: (labels) => post("/label", JSON.stringify(labels)),
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

/** The events of a body; ends with the run's process, which may be killed in the middle of one. */
async function* eventsOf(body: ReadableStream<Uint8Array>, run_dir: string, pid: number, signal: AbortSignal) {
  try {
    for await (const line of boundedLines(body, MAX_EVENT_BYTES)) yield JSON.parse(line) as Envelope;
  } catch (error) {
    if (signal.aborted) throw error;
    for (let waited = 0; (await lockHolder(run_dir)) !== null; waited += 50) {
      if (waited >= GOING_MS) throw new HoneError(messages.run_silent(run_dir, pid, "its events broke off"));
      await sleep(50);
    }
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
  const names = await readdir(runs_dir).catch((error) => {
    if (error.code === "ENOENT") return [] as string[];
    throw error;
  });
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
