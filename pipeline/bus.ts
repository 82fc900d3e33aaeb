/**
 * The typed event bus. `emit` checks the payload, gives it its place in the order, hands it to the sink (the store),
 * to taps and to listeners. Listeners are awaited: that is the back-pressure. Taps are not: each has a bounded queue
 * that drops and counts. The bus knows events, not stages.
 * @module
 */
import { DURABLE, type Envelope, type EventMap, type EventName } from "./events.ts";
import { checkPayload } from "./common/payload_checks.ts";

/** Where envelopes are kept. The promise resolves when the envelope is on disk. */
export interface Sink {
  append(envelope: Envelope): Promise<void>;
}

/** What `emit` returns: the envelope, and when it was ordered and when it was on disk. */
export interface Emitted<K extends EventName = EventName> {
  envelope: Envelope<K>;
  /** Resolves when every listener has seen the event. */
  ordered: Promise<void>;
  /** Resolves when the record is on disk, for durable nouns; at once for the others. */
  durable: Promise<void>;
}

type Listener = (envelope: Envelope) => void | Promise<void>;

const AT_ONCE: Promise<void> = Promise.resolve();
const TAP_LIMIT = 10_000;

/** Orders and delivers the events of one run. */
export class Bus {
  /** Envelopes that taps were too slow for. */
  dropped = 0;
  #run_id: string;
  #sink?: Sink;
  #seq: number;
  #listeners = new Map<EventName, Set<Listener>>();
  #taps = new Set<Tap>();

  /** @param first_seq The number of the next event; a resumed run goes on counting. */
  constructor(run_id: string, sink?: Sink, first_seq = 1) {
    this.#run_id = run_id;
    this.#sink = sink;
    this.#seq = first_seq;
  }

  /** Calls `listener` for each event of a type, in order; `emit(...).ordered` waits for it. */
  on<K extends EventName>(
    type: K,
    listener: (envelope: Envelope<K>) => void | Promise<void>,
    options: { signal?: AbortSignal } = {},
  ): () => void {
    const listeners = this.#listeners.get(type) ?? new Set<Listener>();
    this.#listeners.set(type, listeners.add(listener as unknown as Listener));
    return this.#until(options.signal, () => listeners.delete(listener as unknown as Listener));
  }

  /** Calls `tap` for every event, off the emitter's path; a slow tap loses events and never slows the run. */
  onAny(tap: (envelope: Envelope) => void | Promise<void>, options: { signal?: AbortSignal; limit?: number } = {}) {
    const entry = new Tap(tap, options.limit ?? TAP_LIMIT);
    this.#taps.add(entry);
    return this.#until(options.signal, () => this.#taps.delete(entry));
  }

  /** Publishes an event. Throws a TypeError when the payload is not of the event's shape. */
  emit<K extends EventName>(source: string, type: K, data: EventMap[K]): Emitted<K> {
    checkPayload(type, data);
    const envelope: Envelope<K> = { seq: this.#seq, at: Date.now(), run_id: this.#run_id, source, type, data };
    const durable = this.#keep(envelope as unknown as Envelope);
    // Counted once it is kept: what the sink refuses leaves no gap.
    this.#seq++;
    for (const tap of this.#taps) if (!tap.offer(envelope as unknown as Envelope)) this.dropped++;
    return { envelope, ordered: this.#deliver(envelope as unknown as Envelope), durable };
  }

  #keep(envelope: Envelope): Promise<void> {
    const kept = this.#sink?.append(envelope);
    if (!kept) return AT_ONCE;
    // Nobody awaits the others; a broken sink also refuses the next durable one, so nothing is lost in silence.
    kept.catch(() => {});
    return DURABLE.has(envelope.type) ? kept : AT_ONCE;
  }

  #deliver(envelope: Envelope): Promise<void> {
    const listeners = this.#listeners.get(envelope.type);
    if (!listeners || listeners.size === 0) return AT_ONCE;
    const pending: Promise<void>[] = [];
    for (const listener of listeners) {
      const result = listener(envelope);
      if (result) pending.push(result);
    }
    return pending.length === 0 ? AT_ONCE : Promise.all(pending).then(() => {});
  }

  #until(signal: AbortSignal | undefined, off: () => void): () => void {
    signal?.addEventListener("abort", off, { once: true });
    return () => {
      off();
      signal?.removeEventListener("abort", off);
    };
  }
}

/** A bounded queue in front of one tap. */
class Tap {
  #queue: Envelope[] = [];
  #running = false;
  #tap: (envelope: Envelope) => void | Promise<void>;
  #limit: number;

  constructor(tap: (envelope: Envelope) => void | Promise<void>, limit: number) {
    this.#tap = tap;
    this.#limit = limit;
  }

  offer(envelope: Envelope): boolean {
    if (this.#queue.length >= this.#limit) return false;
    this.#queue.push(envelope);
    if (!this.#running) {
      this.#running = true;
      queueMicrotask(() => this.#drain());
    }
    return true;
  }

  async #drain() {
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      for (const envelope of batch) {
        try {
          const pending = this.#tap(envelope);
          if (pending) await pending;
        } catch {
          // A tap only looks on; what it throws is its own affair.
        }
      }
    }
    this.#running = false;
  }
}
