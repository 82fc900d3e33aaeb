/**
 * The role of a tracker that sends figures somewhere, off the run's path: `on` only queues them. What cannot be delivered
 * is said once, with the cause; a destination that is out of reach is tried again until the run ends, and then for a
 * limited time. No failure reaches the run.
 * @module
 */
import {
  type Context,
  type Envelope,
  HoneError,
  pause,
  type Roles,
  type TrackedRun,
  trackers as messages,
  waitFor,
} from "@hone/hone";
import { FigureReader, type Figures } from "./figures.ts";

/** How the run ended, as far as the tracker heard. */
export interface Ending {
  /** Status of `run.ended`; undefined if the run was closed without it. */
  status?: string;
  /** Sentence of the verdict. */
  sentence?: string;
}

/** Where the figures go. Methods are called one at a time; they throw `OutOfReach` for what may work later. */
export interface Destination {
  /** `recorded` are the figures of earlier starts of the run, to be written unless they are there already. */
  open(run: TrackedRun, recorded: Figures[], signal: AbortSignal): Promise<void>;
  write(rows: Figures[], signal: AbortSignal): Promise<void>;
  end(ending: Ending, signal: AbortSignal): Promise<void>;
  /** Called in any case, last. */
  [Symbol.asyncDispose]?(): Promise<void>;
}

/** A failure that may pass. */
export class OutOfReach extends HoneError {}

/** Maximum events whose figures wait for delivery; the oldest are dropped. */
const MAX_WAITING = 10_000;
const MAX_ROWS = 200;
/** Tries before a destination's silence is told. */
const TRIES = 3;
const LONGEST_WAIT_MS = 30_000;
/** Time for the last figures, and if the destination has been out of reach. The runner allows 30 s. */
const CLOSING_MS = 20_000;
const CLOSING_LATE_MS = 3_000;

/** The role of a tracker with this destination. */
export function delivering(
  { log, stage }: Pick<Context<unknown>, "log" | "stage">,
  destination: Destination,
): Roles["tracker"] & AsyncDisposable {
  const delivery = new Delivery(destination, log, stage);
  return {
    begin: (run) => delivery.begin(run),
    on: (event) => delivery.hear(event),
    [Symbol.asyncDispose]: () => delivery.close(),
  };
}

class Delivery {
  readonly #figures = new FigureReader();
  readonly #over = new AbortController();
  readonly #waiting: Figures[] = [];
  readonly #ending: Ending = {};
  readonly #closing = new AbortController();
  #wake = Promise.withResolvers<void>();
  #work: Promise<void> | undefined;
  #dropped = 0;
  #told = false;

  constructor(
    private readonly destination: Destination,
    private readonly log: Context<unknown>["log"],
    private readonly stage: string,
  ) {}

  begin(run: TrackedRun): void {
    const recorded = run.recorded.flatMap((event) => this.#figures.read(event) ?? []);
    this.#work = this.#deliver(run, recorded).catch((error) => this.#tell(error));
  }

  hear(event: Envelope): void {
    // What it has measured itself.
    if (event.source === this.stage) return;
    const { status, sentence } = event.data as Ending;
    if (event.type === "verdict.made") this.#ending.sentence = sentence;
    if (event.type === "run.ended") this.#ending.status = status;
    const figures = this.#figures.read(event);
    if (!figures) return;
    if (this.#over.signal.aborted) {
      // After its end it hears what other trackers measure at theirs.
      if (!this.#closing.signal.aborted) this.#dropped++;
      return;
    }
    this.#waiting.push(figures);
    if (this.#waiting.length > MAX_WAITING) {
      this.#waiting.shift();
      this.#dropped++;
    }
    this.#wake.resolve();
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the run has ended"));
    this.#wake.resolve();
    const timer = setTimeout(
      () => this.#over.abort(new Error("the run has ended")),
      this.#told ? CLOSING_LATE_MS : CLOSING_MS,
    );
    await this.#work;
    clearTimeout(timer);
    const lost = this.#waiting.length + this.#dropped;
    if (lost > 0) this.log.info(messages.undelivered(lost).message);
    await this.destination[Symbol.asyncDispose]?.();
  }

  async #deliver(run: TrackedRun, recorded: Figures[]): Promise<void> {
    const over = this.#over.signal;
    try {
      await this.#again(() => this.destination.open(run, recorded, over));
      for (;;) {
        const rows = this.#waiting.slice(0, MAX_ROWS);
        if (rows.length > 0) {
          await this.#again(() => this.destination.write(rows, over));
          // Those that were dropped meanwhile are the first of them.
          this.#waiting.splice(0, this.#waiting.indexOf(rows.at(-1)!) + 1);
        } else if (this.#closing.signal.aborted) break;
        else {
          await this.#wake.promise;
          this.#wake = Promise.withResolvers();
        }
      }
      await this.#again(() => this.destination.end(this.#ending, over));
    } finally {
      this.#over.abort();
    }
  }

  /** Repeats what fails because the destination is out of reach; throws what else it throws. */
  async #again(work: () => Promise<void>): Promise<void> {
    const [over, closing] = [this.#over.signal, this.#closing.signal];
    let reason: unknown = new HoneError(messages.late(CLOSING_MS / 1000));
    for (let attempt = 1;; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (over.aborted) throw reason;
        if (!(error instanceof OutOfReach)) throw error;
        reason = error;
        if (attempt >= TRIES) this.#tell(error);
        if (closing.aborted && attempt >= TRIES) throw error;
      }
      // The end of the run cuts a long wait short.
      const until = closing.aborted ? over : AbortSignal.any([over, closing]);
      await pause(waitFor(attempt, undefined, LONGEST_WAIT_MS), until).catch(() => {});
    }
  }

  #tell(error: unknown): void {
    if (this.#told) return;
    this.#told = true;
    const { message, hint } = error instanceof HoneError ? error : messages.broken(error);
    this.log.warn(`${message}. ${hint ?? ""}`.trimEnd());
  }
}
