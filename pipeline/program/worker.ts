/**
 * The Python worker process: starts `python -m hone_worker`, sends requests one at a time, forwards its events, and
 * turns its errors and its exit into HoneErrors. The worker exits when its stdin closes, so it never outlives hone.
 * @module
 */
import { HoneError, worker as messages } from "../diagnostics/mod.ts";
import { Program, ProgramError, type ProgramEvent } from "./program.ts";
import type { JsonObject } from "../events.ts";
import { WORKER_DIR } from "./worker_env.ts";

/** How a worker is started. */
export interface WorkerOptions {
  /** The environment's Python, from `ensureWorkerEnv`. */
  python: string;
  log: (line: string) => void;
  on_event: (event: ProgramEvent) => void;
  /** Kills the worker when aborted. */
  signal?: AbortSignal;
  /** The command, instead of the worker's own: another program of its package, or a test's. */
  command?: string[];
  /** Silence during a request after which the worker counts as hung; it sends a heartbeat every 5 s. */
  silence_secs?: number;
}

/** What the worker's environment variables say beside hone's own. */
export const WORKER_VARIABLES: Readonly<Record<string, string>> = {
  // glibc gives large arrays back to the kernel at each release; kept, they need not be faulted in again (a third faster).
  MALLOC_MMAP_MAX_: "0",
  MALLOC_TRIM_THRESHOLD_: "99999999999",
  MALLOC_TOP_PAD_: "67108864",
  PYTHONPATH: WORKER_DIR,
  PYTHONUNBUFFERED: "1",
  PYTHONDONTWRITEBYTECODE: "1",
  TOKENIZERS_PARALLELISM: "false",
};

/** Looks at silence: several, so that a machine that slept does not look like a worker that hung. */
const LOOKS = 10;

/** A running worker. */
export class Worker implements AsyncDisposable {
  /** Resolves with the cause when the process has exited. */
  readonly lost: Promise<Error>;
  #program: Program;
  #hung = new AbortController();
  #silence_secs: number;
  #silent_looks = 0;
  #open = 0;
  #watch: ReturnType<typeof setInterval> | undefined;

  constructor(options: WorkerOptions) {
    const { python, log, silence_secs = 300 } = options;
    this.#silence_secs = silence_secs;
    const signal = AbortSignal.any([this.#hung.signal, ...(options.signal ? [options.signal] : [])]);
    const on_event = (event: ProgramEvent) => {
      this.#silent_looks = 0;
      options.on_event(event);
    };
    const command = options.command ?? [python, "-m", "hone_worker"];
    const env = { ...Deno.env.toObject(), ...WORKER_VARIABLES };
    this.#program = new Program(command, { cwd: WORKER_DIR, env, log, on_event, signal });
    this.lost = this.#program.lost.then((cause) => this.#hung.signal.aborted ? this.#hung.signal.reason : cause);
  }

  /**
   * Sends a request and waits for its answer. Throws a HoneError with the worker's code, WORKER_DIED or WORKER_TIMEOUT.
   */
  async request<R = JsonObject>(method: string, params: Record<string, unknown>, timeout_secs = 0): Promise<R> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      if (timeout_secs > 0) {
        timer = setTimeout(() => reject(new HoneError(messages.timeout(method, timeout_secs))), timeout_secs * 1000);
      }
    });
    this.#listen(+1);
    try {
      return await Promise.race([this.#program.call(method, params), late]) as R;
    } catch (thrown) {
      const error = this.#hung.signal.aborted ? this.#hung.signal.reason : thrown;
      if (error instanceof HoneError) throw error;
      if (error instanceof ProgramError) {
        throw new HoneError(messages.refused(method, error.code ?? "WORKER_REFUSED", error.message, error.hint));
      }
      throw new HoneError(messages.died(method, (error as Error).message), { cause: error });
    } finally {
      this.#listen(-1);
      clearTimeout(timer);
    }
  }

  /** Watches for silence while requests are open. */
  #listen(change: 1 | -1): void {
    this.#open += change;
    this.#silent_looks = 0;
    clearInterval(this.#watch);
    if (this.#open === 0) return;
    this.#watch = setInterval(() => {
      if (++this.#silent_looks < LOOKS) return;
      this.#hung.abort(new Error(`it gave no sign of life for ${this.#silence_secs} s`));
    }, this.#silence_secs * 1000 / LOOKS);
  }

  /** Ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}
