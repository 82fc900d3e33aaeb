/**
 * The typed event bus of a run. `publish` validates an event, assigns its sequence number, records it and enqueues it
 * for every subscriber. It resolves when each subscriber's bounded queue has accepted the event (back-pressure) and,
 * for event types in `DURABLE`, when it is committed. Events that a handler publishes name the handled event as their
 * `cause`. Taps only observe. When a handler throws or the run's signal is aborted, delivery stops and blocked
 * publishers reject; events are still recorded. The bus knows events, not stages.
 * @module
 */
import { checkPayload } from "./common/payload_checks.ts";
import type { Envelope, EventMap, EventName } from "./events.ts";

/** Event types that are acknowledged only when their record is on disk: `await publish(…)` waits for the commit. */
export const DURABLE: ReadonlySet<EventName> = new Set<EventName>([
  "turn.completed",
  "tool.called",
  "rollout.completed",
  "judgement.made",
  "label.given",
  "reward.shaped",
  "llm.called",
  "train.stepped",
  "job.submitted",
  "policy.published",
  "evaluation.completed",
  "run.ended",
]);

/** Storage of envelopes. The promise resolves when the envelope is on disk. */
export interface Sink {
  append(envelope: Envelope): Promise<void>;
}

/** Publishes an event. Throws a TypeError synchronously if the payload is invalid. */
export type Publish = <K extends EventName>(type: K, data: EventMap[K]) => Promise<void>;

/** Publishing functions for a handler. */
export interface Out {
  publish: Publish;
  /**
   * Like `publish`, but an event that is `recorded` already is delivered to subscribers without being recorded again.
   */
  deliver: <K extends EventName>(type: K, data: EventMap[K], recorded: boolean) => Promise<void>;
  /** Number of the handled event: the `cause` of events published for it elsewhere. */
  cause: number | undefined;
}

/** Handles one event; the events that it publishes depend only on that event and on the records of the run. */
export type Handler<K extends EventName> = (event: Envelope<K>, out: Out) => void | Promise<void>;

/** Options of a subscriber. */
export interface Subscription {
  stage: string;
  /** Maximum number of events handled concurrently. Default: 1. */
  concurrency?: number;
  /** Capacity of the queue; publishers block while it is full. Default: 64. */
  capacity?: number;
}

/** Options of a bus. */
export interface BusOptions {
  /** Sequence number of the first event; a resumed run continues counting. Default: 1. */
  first_seq?: number;
  /** Stops delivery. */
  signal?: AbortSignal;
  /** Called when a handler throws; expected to abort the signal. */
  on_error?: (error: unknown, where: { stage: string; event: Envelope }) => void;
}

const AT_ONCE: Promise<void> = Promise.resolve();
const TAP_LIMIT = 10_000;

/** Orders, records and delivers the events of one run. */
export class Bus {
  /** Number of envelopes that slow taps missed. */
  dropped = 0;
  readonly run_id: string;
  readonly #sink?: Sink;
  readonly #options: BusOptions;
  readonly #queues = new Map<EventName, Queue[]>();
  readonly #taps = new Set<Tap>();
  #seq: number;
  #busy = 0;
  #at_rest: (() => void)[] = [];

  constructor(run_id: string, sink?: Sink, options: BusOptions = {}) {
    this.run_id = run_id;
    this.#sink = sink;
    this.#options = options;
    this.#seq = options.first_seq ?? 1;
    options.signal?.addEventListener("abort", () => this.#stop(), { once: true });
  }

  /** Publishes an event of `source`; see `Publish`. `cause` is the number of the event that led to it. */
  publish<K extends EventName>(source: string, type: K, data: EventMap[K], cause?: number): Promise<void> {
    checkPayload(type, data);
    const at = Date.now();
    const envelope = { seq: this.#seq, at, run_id: this.run_id, source, cause, type, data } as unknown as Envelope;
    const kept = this.#keep(envelope);
    // Incremented after the append: an event that the sink rejects leaves no gap.
    this.#seq++;
    for (const tap of this.#taps) if (!tap.offer(envelope)) this.dropped++;
    const taken = this.#hand(envelope);
    return taken ? both(taken, kept) : kept;
  }

  /** Calls `handler` for each event of a type published from now on. */
  subscribe<K extends EventName>(type: K, subscription: Subscription, handler: Handler<K>): void {
    const { stage, concurrency = 1, capacity = 64 } = subscription;
    const settled = (count: number) => this.#settle(count);
    const work = async (event: Envelope) => {
      try {
        await handler(event as unknown as Envelope<K>, this.#out(stage, event));
      } catch (error) {
        if (!this.#options.signal?.aborted) this.#options.on_error?.(error, { stage, event });
      }
    };
    const queue = new Queue({ concurrency, capacity, work, settled });
    this.#queues.set(type, [...this.#queues.get(type) ?? [], queue]);
  }

  /** Calls `tap` for every event, asynchronously; a slow tap misses events and never slows the run. */
  tap(
    tap: (envelope: Envelope) => void | Promise<void>,
    { name = "", limit = TAP_LIMIT }: { name?: string; limit?: number } = {},
  ): () => void {
    const entry = new Tap(name, tap, limit);
    this.#taps.add(entry);
    return () => this.#taps.delete(entry);
  }

  /** Resolves when no event is queued and no handler is running. */
  async idle(): Promise<void> {
    if (this.#busy > 0) await new Promise<void>((resolve) => this.#at_rest.push(resolve));
  }

  /** Named taps that have not received all events published so far, and how many they lack. */
  missed(): { name: string; events: number }[] {
    return [...this.#taps].filter(({ name, lacks }) => name !== "" && lacks > 0)
      .map(({ name, lacks }) => ({ name, events: lacks }));
  }

  /** Resolves when every tap has received all events published before. */
  async seen(): Promise<void> {
    await Promise.all([...this.#taps].map((tap) => tap.drained));
  }

  #out(stage: string, event: Envelope): Out {
    const cause = event.seq || event.cause;
    return {
      cause,
      publish: (type, data) => this.publish(stage, type, data, cause),
      deliver: async (type, data, recorded) => {
        if (!recorded) return await this.publish(stage, type, data, cause);
        const recalled = { seq: 0, at: Date.now(), run_id: this.run_id, source: stage, cause, type, data };
        await this.#hand(recalled as unknown as Envelope);
      },
    };
  }

  #keep(envelope: Envelope): Promise<void> {
    const kept = this.#sink?.append(envelope);
    if (!kept) return AT_ONCE;
    // May stay unawaited; a broken sink also rejects the next durable event, so no loss goes unnoticed.
    kept.catch(() => {});
    return DURABLE.has(envelope.type) ? kept : AT_ONCE;
  }

  /** Undefined if every queue accepted the event immediately. */
  #hand(envelope: Envelope): Promise<void> | undefined {
    const queues = this.#queues.get(envelope.type);
    if (!queues || this.#options.signal?.aborted) return undefined;
    const waits: Promise<void>[] = [];
    for (const queue of queues) {
      this.#busy++;
      const wait = queue.offer(envelope);
      if (wait) waits.push(wait);
    }
    return waits.length > 0 ? both(...waits) : undefined;
  }

  #settle(count: number) {
    this.#busy -= count;
    if (this.#busy > 0) return;
    for (const rest of this.#at_rest.splice(0)) rest();
  }

  #stop() {
    for (const queue of [...this.#queues.values()].flat()) queue.clear(this.#options.signal!.reason);
  }
}

function both(...promises: Promise<void>[]): Promise<void> {
  const all = Promise.all(promises).then(() => {});
  all.catch(() => {});
  return all;
}

interface QueueParts {
  concurrency: number;
  capacity: number;
  /** Never rejects. */
  work: (event: Envelope) => Promise<void>;
  /** Called with the number of events that are finished. */
  settled: (count: number) => void;
}

/** The queued events of one subscriber, in order. */
class Queue {
  #waiting: Envelope[] = [];
  #late: { event: Envelope; taken: () => void; refused: (reason: unknown) => void }[] = [];
  #running = 0;

  constructor(private readonly parts: QueueParts) {}

  /** Accepts the event, immediately or when the queue has room. */
  offer(event: Envelope): Promise<void> | undefined {
    if (this.#late.length > 0 || this.#waiting.length >= this.parts.capacity) {
      return new Promise((taken, refused) => this.#late.push({ event, taken, refused }));
    }
    this.#waiting.push(event);
    this.#start();
  }

  /** Discards all queued events and rejects blocked publishers. */
  clear(reason: unknown) {
    const [waiting, late] = [this.#waiting.splice(0), this.#late.splice(0)];
    for (const { refused } of late) refused(reason);
    if (waiting.length + late.length > 0) this.parts.settled(waiting.length + late.length);
  }

  #start() {
    while (this.#running < this.parts.concurrency && this.#waiting.length > 0) {
      const event = this.#waiting.shift()!;
      const next = this.#late.shift();
      if (next) {
        this.#waiting.push(next.event);
        next.taken();
      }
      this.#running++;
      void this.#handle(event);
    }
  }

  async #handle(event: Envelope) {
    // Not on the publisher's stack, which continues first.
    await AT_ONCE;
    await this.parts.work(event);
    this.#running--;
    this.#start();
    this.parts.settled(1);
  }
}

/** A bounded queue in front of one tap. */
class Tap {
  drained: Promise<void> = AT_ONCE;
  #queue: Envelope[] = [];
  #running = false;
  #offered = 0;
  #handled = 0;

  constructor(
    readonly name: string,
    private readonly tap: (envelope: Envelope) => void | Promise<void>,
    private readonly limit: number,
  ) {}

  /** Events that it has not received. */
  get lacks(): number {
    return this.#offered - this.#handled;
  }

  offer(envelope: Envelope): boolean {
    this.#offered++;
    if (this.#queue.length >= this.limit) return false;
    this.#queue.push(envelope);
    if (!this.#running) this.drained = this.#drain();
    return true;
  }

  async #drain() {
    this.#running = true;
    await AT_ONCE;
    while (this.#queue.length > 0) {
      for (const envelope of this.#queue.splice(0)) {
        try {
          const pending = this.tap(envelope);
          if (pending) await pending;
          this.#handled++;
        } catch {
          // Errors of taps are ignored.
          this.#handled++;
        }
      }
    }
    this.#running = false;
  }
}
