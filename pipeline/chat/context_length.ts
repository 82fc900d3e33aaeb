/**
 * How long a conversation an endpoint takes, where it says so: the model's entry in `GET /models`, under the names that
 * inference servers give it.
 * @module
 */
import type { JsonObject } from "../events.ts";
import type { Policy } from "../plugin.ts";
import { boundedText } from "../common/bounded_body.ts";
import { within } from "../common/deadline.ts";
import { MAX_ANSWER_BYTES } from "./endpoint_http.ts";

const PATIENCE_SECS = 5;
/** vLLM and SGLang; OpenRouter and Together; LM Studio; Groq. */
const NAMES = ["max_model_len", "context_length", "max_context_length", "context_window"];

/** Tokens of the longest context, or 0 where the endpoint does not say. Throws only the signal's reason. */
export async function contextLength(policy: Policy, signal: AbortSignal): Promise<number> {
  const url = `${policy.base_url.replace(/\/$/, "")}/models`;
  const headers: Record<string, string> = { ...policy.headers };
  if (policy.api_key) headers.authorization = `Bearer ${policy.api_key}`;
  try {
    return await within(PATIENCE_SECS, signal, async (inner) => {
      const response = await fetch(url, { headers, signal: inner });
      const text = await boundedText(response, MAX_ANSWER_BYTES);
      return response.ok ? ofModel(JSON.parse(text), policy.model) : 0;
    });
  } catch {
    signal.throwIfAborted();
    return 0;
  }
}

function ofModel(answer: { data?: unknown }, model: string): number {
  const entries = Array.isArray(answer?.data) ? answer.data as (JsonObject | null)[] : [];
  const entry = entries.find((one) => one?.id === model);
  const said = NAMES.map((name) => entry?.[name]).find((value) => typeof value === "number" && value > 0);
  return typeof said === "number" ? said : 0;
}
