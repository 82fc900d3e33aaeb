/**
 * Time limits that clean up after themselves: timer and listener are removed when the work ends, successfully or not.
 * @module
 */
import { setImmediate } from "node:timers/promises";

/** The reason of a signal that `within` aborted. */
export class TimeUp extends Error {
  override name = "TimeUp";
  constructor(readonly seconds: number) {
    super(`no answer within ${seconds} s`);
  }
}

/** Runs `work` with a signal that follows `signal` and aborts with TimeUp after `seconds`. */
export async function within<T>(
  seconds: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = new AbortController();
  const follow = () => inner.abort(signal.reason);
  if (signal.aborted) follow();
  signal.addEventListener("abort", follow, { once: true });
  const timer = setTimeout(() => inner.abort(new TimeUp(seconds)), timerMs(seconds));
  try {
    return await work(inner.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", follow);
  }
}

/** Milliseconds that a timer can wait, which is 24.8 days at most: with more it would fire at once. */
export function timerMs(seconds: number): number {
  return Math.max(0, Math.min(seconds * 1000, 2 ** 31 - 1));
}

/**
 * Like `within`, for work that may ignore its signal: rejects when the time limit is reached, whatever the work does.
 */
export function limited<T>(
  seconds: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return within(seconds, signal, (inner) => unlessAborted(inner, work(inner)));
}

/** The result of the work, or the signal's reason as soon as it is aborted, whatever the work does. */
export async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Time that a generator has to clean up when it is left before its end. */
const CLEAN_UP_SECS = 2;

/**
 * The values of a generator until it ends or the signal is aborted, whatever the generator does. Left before its end, by
 * the signal or by `return`, the generator is closed.
 */
export async function* untilAborted<T, R>(signal: AbortSignal, values: AsyncGenerator<T, R>): AsyncGenerator<T, R> {
  let open = true;
  let refuse: (reason: unknown) => void = () => {};
  const stop = () => refuse(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (let count = 1;; count++) {
      const { done, value } = await new Promise<IteratorResult<T, R>>((resolve, reject) => {
        refuse = reject;
        values.next().then(resolve, reject);
        if (signal.aborted) stop();
      });
      if (done) {
        open = false;
        return value;
      }
      yield value;
      // A generator that never waits would keep timers and signals from being heard.
      if (count % 100 === 0) await setImmediate();
      signal.throwIfAborted();
    }
  } finally {
    signal.removeEventListener("abort", stop);
    if (open) {
      await limited(CLEAN_UP_SECS, new AbortController().signal, () => values.return(undefined as R)).catch(() => {});
    }
  }
}

/** Waits, or throws the signal's reason. */
export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const stop = () => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
