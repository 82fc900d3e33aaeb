/** HTTP responses with a limit on their size. @module */

/** An answer was larger than it may be. */
export class TooLarge extends Error {
  override name = "TooLarge";

  constructor(
    /** Bytes that were allowed. */
    readonly bytes: number,
  ) {
    super(`it sent an answer of more than ${bytes} bytes`);
  }
}

/**
 * The response, whose body fails with TooLarge after so many bytes. One that says its length, and keeps to it, needs no
 * watching.
 */
export function bounded(response: Response, bytes: number): Response {
  const { body, status, statusText, headers } = response;
  if (!body) return response;
  const length = headers.get("content-length");
  if (length !== null && Number(length) <= bytes && !headers.has("content-encoding")) return response;
  const reader = body.getReader();
  let left = bytes;
  const counted = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await reader.read();
      if (done) return controller.close();
      left -= value.length;
      if (left >= 0) return controller.enqueue(value);
      const problem = new TooLarge(bytes);
      controller.error(problem);
      await reader.cancel(problem);
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
  return new Response(counted, { status, statusText, headers });
}
