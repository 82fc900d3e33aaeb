/**
 * Messages about questions to language models: what keeps one from being asked, endpoints that do not answer, and
 * replies that cannot be used.
 * @module
 */
import { type Diagnostic, quote, say } from "./diagnostic.ts";

/** Who is asked, as messages name it: the model and the address of the request. */
export interface Asked {
  model: string;
  url: string;
}

const SHOWN_CHARS = 300;
const MIB = 1024 * 1024;

/** Problems of a question and of its reply. */
export const llm = {
  bad_address: (base_url: string) =>
    say(
      "LLM_BAD_ADDRESS",
      `Cannot ask a language model at ${quote(base_url)}: wanted an http or https address`,
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
      "Set it to the key of that endpoint, or leave `api_key_env` out where it wants none.",
    ),
  limit: (model: string, limit: string, value: number) =>
    say(
      "LLM_LIMIT",
      `Cannot ask model ${quote(model)}: limits.${limit} (${value}) is used up`,
      "Raise it in the pipeline file, then `hone resume`.",
    ),
  unreachable: (asked: Asked, cause: string) =>
    say(
      "LLM_UNREACHABLE",
      `Cannot reach ${named(asked)}: ${one(cause)}`,
      "Is the server running, and `base_url` right?",
    ),
  timeout: (asked: Asked, seconds: number) =>
    say(
      "LLM_TIMEOUT",
      `Cannot ask ${named(asked)}: no answer within ${seconds} s`,
      "Raise `timeout_secs`, or give it less to do at once.",
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
      `Cannot ask ${named(asked)}: the question does not fit its context (${one(reason)})`,
      "Ask a model with a longer context, or show it less.",
    ),
  unreadable: (asked: Asked, wanted: string, body: string) =>
    say("LLM_UNREADABLE", `Cannot read what ${named(asked)} answered: wanted ${wanted}, got ${quote(body)}`),
  too_large: (asked: Asked, bytes: number) =>
    say("LLM_TOO_LARGE", `Cannot read what ${named(asked)} answered: it is larger than ${bytes / MIB} MiB`),
  empty: (asked: Asked) => say("LLM_EMPTY", `Cannot use the reply of ${named(asked)}: it is empty`),
  refused: (asked: Asked, words: string) =>
    say("LLM_REFUSED", `Cannot use the reply of ${named(asked)}: the model refused (${one(words)})`),
  cut_off: (asked: Asked, max_tokens: number) =>
    say(
      "LLM_CUT_OFF",
      `Cannot use the reply of ${
        named(asked)
      }: it was cut off, at \`max_tokens\` (${max_tokens}) or where its context ends`,
      "Raise `max_tokens`; a model that thinks first needs room for that too.",
    ),
  not_as_asked: (asked: Asked, problem: string, text: string) =>
    say(
      "LLM_NOT_AS_ASKED",
      `Cannot use the reply of ${named(asked)}, not as JSON that fits its schema: ${one(problem)}; it said ${
        quote(text)
      }`,
      "Ask a model that keeps to a schema, or make the schema simpler.",
    ),
  cache_unusable: (folder: string, cause: string): Diagnostic =>
    say(
      "LLM_CACHE_UNUSABLE",
      `Cannot keep replies of language models in ${quote(folder)}: ${cause}; equal questions will be asked again`,
    ),
};

function named({ model, url }: Asked): string {
  return `model ${quote(model)} at ${url}`;
}

/** What an endpoint says, on one line and not too long. */
function one(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  const shown = line.length > SHOWN_CHARS ? `${line.slice(0, SHOWN_CHARS)}…` : line;
  return shown.replace(/\p{Cc}/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

function hintOn(status: number, api_key_env: string | undefined): string | undefined {
  if (status === 401 || status === 403) {
    return api_key_env === undefined
      ? "Name the variable that holds its key in `api_key_env`."
      : `Set the variable ${api_key_env} to a key that it takes.`;
  }
  if (status >= 300 && status < 400) return "Set `base_url` to where it redirects: keys do not follow redirects.";
  if (status === 404) return "Is `base_url` right (with `/v1` under `openai`, without under `anthropic`), and `model`?";
  return undefined;
}
