/**
 * The part of MLflow's REST API that a tracker needs, version 2.0 (https://mlflow.org/docs/latest/rest-api.html): every
 * request is a POST of JSON below `/api/2.0/mlflow/`. Redirects are not followed: they would disclose the token.
 * @module
 */
import { type Heard, HoneError, type JsonObject, post, redact, TimeUp, trackers as messages, within } from "@hone/hone";
import { OutOfReach } from "./delivery.ts";

const REQUEST_SECS = 15;
const MAX_BYTES = 8_000_000;
const SHOWN_CHARS = 300;

/** A request that the server refused; `code` is MLflow's own, such as RESOURCE_ALREADY_EXISTS. */
export class Refusal extends HoneError {
  constructor(address: string, reason: string, readonly mlflow_code: string) {
    super(messages.refused(address, reason));
  }
}

/** A client of one server. */
export class MlflowClient {
  constructor(private readonly address: string, private readonly headers: Record<string, string>) {}

  /** Calls a method such as `runs/create`. Throws OutOfReach, Refusal, another HoneError, or the signal's reason. */
  async call(method: string, body: JsonObject, signal: AbortSignal): Promise<JsonObject> {
    const url = `${this.address.replace(/\/+$/, "")}/api/2.0/mlflow/${method}`;
    const headers = { "content-type": "application/json", ...this.headers };
    let heard: Heard;
    try {
      heard = await within(
        REQUEST_SECS,
        signal,
        (signal) =>
          post(url, { headers, body: JSON.stringify(body), signal, max_bytes: MAX_BYTES, redirect: "manual" }),
      );
    } catch (error) {
      signal.throwIfAborted();
      const reason = error instanceof TimeUp || error instanceof Error ? error.message : String(error);
      throw new OutOfReach(messages.unreachable(this.address, redact(reason)));
    }
    return this.#answer(heard);
  }

  #answer({ status, text }: Heard): JsonObject {
    const answer = objectIn(text);
    const { error_code, message } = answer ?? {};
    const reason = redact(typeof message === "string" ? message : text.trim()).slice(0, SHOWN_CHARS);
    if (status === 200 && answer) return answer;
    if (status === 401 || status === 403) throw new HoneError(messages.not_signed_in(this.address, status));
    if (status === 408 || status === 429 || status >= 500) {
      throw new OutOfReach(messages.unreachable(this.address, `HTTP ${status}${reason && `: ${reason}`}`));
    }
    if (typeof error_code === "string") throw new Refusal(this.address, `${error_code}: ${reason}`, error_code);
    throw new HoneError(messages.no_mlflow(this.address, `it answers HTTP ${status} without MLflow's JSON`));
  }
}

function objectIn(text: string): JsonObject | undefined {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
