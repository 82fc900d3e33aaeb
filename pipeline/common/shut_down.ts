/** Shuts down a server on loopback: gracefully, then forcibly. @module */

/** Time limit, in milliseconds, for responses in progress: a client that has stopped reading would block forever. */
const GOODBYE_MS = 1000;

/** Stops listening and waits at most a second for responses in progress. Never keeps the process alive. */
export async function shutDown(server: Deno.HttpServer): Promise<void> {
  server.unref();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, GOODBYE_MS));
  await Promise.race([server.shutdown(), late]);
  clearTimeout(timer);
}
