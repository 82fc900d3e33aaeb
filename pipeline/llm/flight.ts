/**
 * Work that several wait for: it goes on while anybody does, and is stopped when the last one has left.
 * @module
 */

/** Work under way. */
export class Flight<T> {
  readonly #result: Promise<T>;
  /** Resolves when the work has ended, whichever way. */
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();
  #waiting = 0;

  constructor(work: (signal: AbortSignal) => Promise<T>) {
    this.#result = work(this.#stop.signal);
    this.ended = this.#result.then(() => {}, () => {});
  }

  /** True where the last one has left: the work is ending, and nobody may join. */
  get abandoned(): boolean {
    return this.#stop.signal.aborted;
  }

  /**
   * What the work comes to. Throws the signal's reason where that comes first; whoever leaves as the last waits until the
   * work has ended.
   */
  async join(signal: AbortSignal): Promise<T> {
    const { promise: left, reject } = Promise.withResolvers<never>();
    const leave = () => reject(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    this.#waiting++;
    try {
      return await Promise.race([left, this.#result]);
    } finally {
      signal.removeEventListener("abort", leave);
      if (--this.#waiting === 0) {
        this.#stop.abort(signal.reason);
        await this.ended;
      }
    }
  }
}
