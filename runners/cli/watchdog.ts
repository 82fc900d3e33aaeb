/**
 * Ends the process at the second signal even if its own thread never returns to the event loop, such as in a plugin that
 * computes for ever: listeners for signals are then not called. A thread of its own counts the signals too.
 * @module
 */

/** The signals that stop hone. */
export const SIGNALS: readonly Deno.Signal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM", "SIGHUP"];

/** Time that the process's own thread has to exit by itself after the second signal, in milliseconds. */
const GRACE_MS = 500;

// A program in an address needs no file, which the compiled binary would have to embed.
const PROGRAM = `let count = 0;
for (const signal of ${JSON.stringify(SIGNALS)}) {
  Deno.addSignalListener(signal, () => {
    if (++count === 2) setTimeout(() => Deno.kill(Deno.pid, "SIGKILL"), ${GRACE_MS});
  });
}`;

/** Starts the thread; it ends with the process, or when it is terminated. */
export function startWatchdog(): Worker {
  return new Worker(`data:application/javascript,${encodeURIComponent(PROGRAM)}`, { type: "module" });
}
