/** Ends a server on loopback: politely, then without waiting. @module */

/** Milliseconds that answers under way have: a reader that has stopped reading takes for ever. */
const GOODBYE_MS = 1000;

/** Stops listening and waits for answers under way, a second at most. Never keeps the process alive. */
export async function shutDown(server: Deno.HttpServer): Promise<void> {
  server.unref();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((resolve) => timer = setTimeout(resolve, GOODBYE_MS));
  await Promise.race([server.shutdown(), late]);
  clearTimeout(timer);
}
