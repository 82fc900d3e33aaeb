/**
 * Messages about requests to language models that stages make: requests that cannot be sent, endpoints that do not
 * answer, and unusable replies.
 * @module
 */
import { type Diagnostic, quote, say } from "./diagnostic.ts";

/** The model and the address of a request, as messages name them. */
export interface Asked {
  model: string;
  url: string;
}

/** How a price is stated. */
export const PRICE =
  "Add `price: { input_per_million: …, output_per_million: … }`, in US dollars; 0 for a model that costs nothing.";
const SHOWN_CHARS = 300;
const MIB = 1024 * 1024;

/** Problems of a request and of its reply. */
export const llm = {
  bad_address: (base_url: string) =>
    say(
      "LLM_BAD_ADDRESS",
      `Cannot ask a language model at ${quote(base_url)}: expected an http or https address`,
      "Set `base_url`, with its `/v1` for an OpenAI-compatible endpoint.",
    ),
  bad_schema: (model: string, cause: string) =>
    say(
      "LLM_BAD_SCHEMA",
      `Cannot ask model ${quote(model)}: the schema of its reply cannot be used (${one(cause)})`,
    ),
  key_missing: (asked: Asked, variable: string) =>
    say(
      "LLM_KEY_MISSING",
      `Cannot ask ${named(asked)}: the environment variable ${quote(variable)} is not set`,
      "Set it to the key of that endpoint, or remove `api_key_env` if the endpoint needs no key.",
    ),
  limit: (model: string, limit: string, value: number) =>
    say(
      "LLM_LIMIT",
      `Cannot ask model ${quote(model)}: limits.${limit} (${value}) is used up`,
      "Raise it in the pipeline file, then `hone resume`.",
    ),
  unpriced: (model: string) =>
    say(
      "LLM_UNPRICED",
      `Cannot ask model ${quote(model)}: limits.usd is set, and the settings of its endpoint state no price`,
      PRICE,
    ),
  unreachable: (asked: Asked, cause: string) =>
    say(
      "LLM_UNREACHABLE",
      `Cannot reach ${named(asked)}: ${one(cause)}`,
      "Check that the server is running and that `base_url` is right.",
    ),
  timeout: (asked: Asked, seconds: number) =>
    say(
      "LLM_TIMEOUT",
      `Cannot ask ${named(asked)}: no answer within ${seconds} s`,
      "Raise `timeout_secs`, or send fewer concurrent requests.",
    ),
  endpoint_refused: (asked: Asked, status: number, reason: string, api_key_env: string | undefined) =>
    say(
      "LLM_ENDPOINT_REFUSED",
      `Cannot ask ${named(asked)}: it answered ${status}: ${one(reason)}`,
      hintOn(status, api_key_env),
    ),
  context_full: (asked: Asked, reason: string) =>
    say(
      "LLM_CONTEXT_FULL",
      `Cannot ask ${named(asked)}: the request does not fit its context (${one(reason)})`,
      "Use a model with a longer context, or send a shorter prompt.",
    ),
  unreadable: (asked: Asked, wanted: string, body: string) =>
    say("LLM_UNREADABLE", `Cannot read the response of ${named(asked)}: expected ${wanted}, got ${quote(body)}`),
  too_large: (asked: Asked, bytes: number) =>
    say("LLM_TOO_LARGE", `Cannot read the response of ${named(asked)}: it is larger than ${bytes / MIB} MiB`),
  empty: (asked: Asked) => say("LLM_EMPTY", `Cannot use the reply of ${named(asked)}: it is empty`),
  refused: (asked: Asked, words: string) =>
    say("LLM_REFUSED", `Cannot use the reply of ${named(asked)}: the model refused (${one(words)})`),
  cut_off: (asked: Asked, max_tokens: number) =>
    say(
      "LLM_CUT_OFF",
      `Cannot use the reply of ${
        named(asked)
      }: it was cut off at \`max_tokens\` (${max_tokens}) or at the end of its context`,
      "Raise `max_tokens`; a reasoning model needs room for its reasoning too.",
    ),
  not_as_asked: (asked: Asked, problem: string, text: string) =>
    say(
      "LLM_NOT_AS_ASKED",
      `Cannot use the reply of ${named(asked)}: not JSON that matches the schema (${one(problem)}); it replied ${
        quote(text)
      }`,
      "Use a model that follows a schema, or simplify the schema.",
    ),
  cache_unusable: (folder: string, cause: string): Diagnostic =>
    say(
      "LLM_CACHE_UNUSABLE",
      `Cannot cache replies of language models in ${quote(folder)}: ${cause}; repeated requests will be sent again`,
    ),
};

function named({ model, url }: Asked): string {
  return `model ${quote(model)} at ${url}`;
}

/** An endpoint's text, on one line and truncated. */
function one(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  const shown = line.length > SHOWN_CHARS ? `${line.slice(0, SHOWN_CHARS)}…` : line;
  return shown.replace(/\p{Cc}/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

function hintOn(status: number, api_key_env: string | undefined): string | undefined {
  if (status === 401 || status === 403) {
    return api_key_env === undefined
      ? "Name the variable that holds its key in `api_key_env`."
      : `Set the variable ${api_key_env} to a valid key.`;
  }
  if (status >= 300 && status < 400) {
    return "Set `base_url` to the address that it redirects to: keys are not sent to redirect targets.";
  }
  if (status === 404) return "Check `base_url` (with `/v1` under `openai`, without under `anthropic`) and `model`.";
  return undefined;
}
