/**
 * The Python worker process: starts `python -m hone_worker`, sends requests one at a time, passes on its events, and
 * turns its refusals and its death into HoneErrors. Its end of input is its end, so it never outlives hone.
 * @module
 */
import { HoneError, worker as messages } from "./diagnostics.ts";
import { Program, ProgramError, type ProgramEvent } from "./exec_program.ts";
import type { JsonObject } from "./events.ts";
import { WORKER_DIR } from "./worker_env.ts";

/** How a worker is started. */
export interface WorkerOptions {
  backend: "mlx";
  /** The environment's Python, from `ensureWorkerEnv`. */
  python: string;
  log: (line: string) => void;
  on_event: (event: ProgramEvent) => void;
  /** Kills the worker when aborted. */
  signal?: AbortSignal;
  /** The command, instead of the worker's own; for tests. */
  command?: string[];
}

/** A running worker. */
export class Worker implements AsyncDisposable {
  /** Resolves with the cause when the process is gone. */
  readonly lost: Promise<Error>;
  #program: Program;

  constructor(options: WorkerOptions) {
    const { backend, python, log, on_event, signal } = options;
    const command = options.command ?? [python, "-m", "hone_worker", backend];
    // glibc gives large arrays back to the kernel at each release; kept, they need not be faulted in again (a third faster).
    const malloc = { MALLOC_MMAP_MAX_: "0", MALLOC_TRIM_THRESHOLD_: "99999999999", MALLOC_TOP_PAD_: "268435456" };
    const env = {
      ...malloc,
      PYTHONPATH: WORKER_DIR,
      PYTHONUNBUFFERED: "1",
      PYTHONDONTWRITEBYTECODE: "1",
      TOKENIZERS_PARALLELISM: "false",
    };
    this.#program = new Program(command, { cwd: WORKER_DIR, env, log, on_event, signal });
    this.lost = this.#program.lost;
  }

  /** Sends a request and waits for its answer. Throws a HoneError with the worker's code, WORKER_DIED or WORKER_TIMEOUT. */
  async request<R = JsonObject>(method: string, params: Record<string, unknown>, timeout_secs = 0): Promise<R> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      if (timeout_secs > 0) {
        timer = setTimeout(() => reject(new HoneError(messages.timeout(method, timeout_secs))), timeout_secs * 1000);
      }
    });
    try {
      return await Promise.race([this.#program.call(method, params), late]) as R;
    } catch (error) {
      if (error instanceof HoneError) throw error;
      if (error instanceof ProgramError) {
        throw new HoneError(messages.refused(method, error.code ?? "WORKER_REFUSED", error.message, error.hint));
      }
      throw new HoneError(messages.died(method, (error as Error).message), { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
  }
}
