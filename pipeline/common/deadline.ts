/**
 * A time limit that leaves nothing behind: timer and listener are gone when the work is, whichever way it ended.
 * @module
 */

/** The reason of a signal that `within` aborted. */
export class TimeUp extends Error {
  override name = "TimeUp";
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
  const timer = setTimeout(() => inner.abort(new TimeUp(`no answer within ${seconds} s`)), seconds * 1000);
  try {
    return await work(inner.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", follow);
  }
}

/** As `within`, for work that may not heed its signal: rejects when the time is up, whatever the work does. */
export function limited<T>(
  seconds: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return within(seconds, signal, (inner) => unlessAborted(inner, work(inner)));
}

/** What the work gives, or the signal's reason as soon as it is aborted, whatever the work does. */
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
