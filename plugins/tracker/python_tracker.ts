/**
 * A destination behind a Python library: `python -m hone_worker.tracking`, in an environment of its own that is created on
 * first use. The program ends when hone does.
 * @module
 */
import {
  type Context,
  ensureWorkerEnv,
  HoneError,
  type JsonObject,
  limited,
  type TrackedRun,
  trackers as messages,
  Worker,
} from "@hone/hone";
import type { Destination, Ending } from "./delivery.ts";
import type { Figures } from "./figures.ts";

/** What a tracker is made of. */
export interface PythonTrackerParts {
  /** Its name in the program. */
  tracker: "tensorboard" | "wandb" | "carbon";
  /** Its name for people. */
  title: string;
  /** Options of the program's tracker. */
  options(run: TrackedRun): JsonObject;
  python?: string;
  log: Context<unknown>["log"];
}

/** Creating the environment is part of `begin`, and has no other limit than the run's end. */
const SECS = { begin: 120, log: 60, measure: 60, end: 60 };

let environment: Promise<string> | undefined;

/** See the module. */
export class PythonTracker implements Destination {
  #worker: Worker | undefined;

  constructor(protected readonly parts: PythonTrackerParts) {}

  async open(run: TrackedRun, recorded: Figures[], signal: AbortSignal): Promise<void> {
    const { tracker, title, options, log } = this.parts;
    const python = await this.#failing(() => limited(Infinity, signal, () => this.#python(signal)));
    const command = [python, "-m", "hone_worker.tracking"];
    this.#worker = new Worker({ python, command, log: (line) => log.debug(line), on_event: () => {} });
    const given = await this.#failing(async () => options(run));
    const { place } = await this.call("begin", { tracker, options: given }, signal);
    log.info(`${title}: ${place}`);
    await this.write(recorded, signal);
  }

  async write(rows: Figures[], signal: AbortSignal): Promise<void> {
    const filled = rows.filter(({ values }) => Object.keys(values).length > 0);
    if (filled.length > 0) await this.call("log", { rows: filled }, signal);
  }

  async end(ending: Ending, signal: AbortSignal): Promise<void> {
    await this.call("end", { ...ending }, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker?.[Symbol.asyncDispose]();
  }

  protected call(method: keyof typeof SECS, params: Record<string, unknown>, signal: AbortSignal): Promise<JsonObject> {
    return this.#failing(() => limited(SECS[method], signal, () => this.#worker!.request(method, params)));
  }

  /** One for all trackers: two would make the same folder. */
  async #python(signal: AbortSignal): Promise<string> {
    const { python, log } = this.parts;
    const on_progress = (line: string) => log.info(line);
    environment ??= ensureWorkerEnv({ backend: "tracking", on_progress, signal, python }).then(({ python }) => python);
    try {
      return await environment;
    } catch (error) {
      environment = undefined;
      throw error;
    }
  }

  async #failing<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { message, hint } = error as HoneError;
      throw new HoneError(messages.program_failed(this.parts.title, message, hint));
    }
  }
}
