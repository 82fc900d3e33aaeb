/**
 * Shared work: continues while anyone is waiting for it, and is aborted when the last one leaves.
 * @module
 */

/** Work in progress. */
export class Flight<T> {
  readonly #result: Promise<T>;
  /** Resolves when the work has ended, successfully or not. */
  readonly ended: Promise<void>;
  readonly #stop = new AbortController();
  #waiting = 0;

  constructor(work: (signal: AbortSignal) => Promise<T>) {
    this.#result = work(this.#stop.signal);
    this.ended = this.#result.then(() => {}, () => {});
  }

  /** True if the last one has left: the work is being aborted and cannot be joined. */
  get abandoned(): boolean {
    return this.#stop.signal.aborted;
  }

  /**
   * The result of the work. Throws the signal's reason if it is aborted first; the last one to leave waits until the
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
