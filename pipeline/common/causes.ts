/**
 * What lies behind an error: the chain of its causes.
 * @module
 */

/** The message of the deepest cause: wrappers say less than what they wrap. */
export function innermost(error: Error): string {
  let deepest = error;
  while (deepest.cause instanceof Error) deepest = deepest.cause;
  return deepest.message || error.message;
}

/** The first error of a kind among an error and its causes. */
export function findCause<T extends Error>(
  error: unknown,
  // deno-lint-ignore no-explicit-any -- constructors differ in what they take
  kind: abstract new (...args: any[]) => T,
): T | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (at instanceof kind) return at;
}
