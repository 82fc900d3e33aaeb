/** HTTP responses with a limit on their size, or on the size of each event. @module */

const LF = 10;
const CR = 13;

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
  if (saysLength(headers, bytes)) return response;
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

function saysLength(headers: Headers, bytes: number): boolean {
  const length = headers.get("content-length");
  return length !== null && Number(length) <= bytes && !headers.has("content-encoding");
}

/** The text of a response. Throws TooLarge after so many bytes. */
export async function boundedText(response: Response, bytes: number): Promise<string> {
  const { body, headers } = response;
  if (!body || saysLength(headers, bytes)) return await response.text();
  const decoder = new TextDecoder();
  let text = "";
  let left = bytes;
  // Left before its end, the body is cancelled.
  for await (const chunk of body) {
    left -= chunk.length;
    if (left < 0) throw new TooLarge(bytes);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/**
 * The response, an event stream, whose body fails with TooLarge where a single event is longer than so many bytes. The
 * stream as a whole may go on for ever. Events end with an empty line.
 */
export function boundedEvents(response: Response, bytes: number): Response {
  const { body, status, statusText, headers } = response;
  if (!body) return response;
  let held = 0;
  let last = LF;
  const counted = body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        for (const byte of chunk) {
          const ends_line = byte === CR || byte === LF && last !== CR;
          held = ends_line && (last === CR || last === LF) ? 0 : held + 1;
          last = byte;
          if (held > bytes) throw new TooLarge(bytes);
        }
        controller.enqueue(chunk);
      },
    }),
  );
  return new Response(counted, { status, statusText, headers });
}
