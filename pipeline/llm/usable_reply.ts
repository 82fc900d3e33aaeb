/**
 * From a model's reply to a usable one: complete, not refused, not empty, and JSON that matches the schema, if there is
 * one. For a reply that does not match, a corrected one is requested once, with the problem in the prompt.
 * @module
 */
import { beginning } from "../chat/formats.ts";
import { HoneError, llm as say } from "../diagnostics/mod.ts";
import type { Json } from "../events.ts";
import type { Effort, EndpointClient } from "./endpoint_client.ts";
import type { Said } from "./llm_api.ts";
import type { Question } from "./question.ts";
import { readReply, repairText } from "./reply_json.ts";

/** Maximum characters of a reply that are repeated to the model. */
const SHOWN_AGAIN = 20_000;

/** A usable reply. */
export interface Usable {
  text: string;
  json?: Json;
  /** The model, as reported by the endpoint. */
  model: string;
}

/** Requests a reply until it is usable. Throws a HoneError if there is none, or the signal's reason. */
export async function usableReply(
  client: EndpointClient,
  question: Question,
  effort: Effort,
  signal: AbortSignal,
): Promise<Usable> {
  const { messages, request: { schema, endpoint } } = question;
  const asked = { model: endpoint.model, url: question.url };
  const said = await client.say(question, { messages, in_words: false }, effort, signal);
  const usable = ({ text, model }: Said, json?: Json): Usable => ({
    text,
    ...(json !== undefined && { json }),
    model: model || endpoint.model,
  });
  if (!schema) {
    checkComplete(question, said);
    return usable(said);
  }
  const read = readReply(checkJson(question, said), schema);
  if ("value" in read) return usable(said, read.value);
  checkComplete(question, said);
  if (read.none) client.ignoresSchema(question);
  const again = [
    ...messages,
    { role: "assistant" as const, content: beginning(said.text, SHOWN_AGAIN) },
    { role: "user" as const, content: repairText(read.problem) },
  ];
  const mended = await client.say(question, { messages: again, in_words: true }, effort, signal);
  const second = readReply(checkJson(question, mended), schema);
  if ("value" in second) return usable(mended, second.value);
  checkComplete(question, mended);
  throw new HoneError(say.not_as_asked(asked, second.problem, mended.text));
}

function checkRefusal({ url, request: { endpoint } }: Question, said: Said): Said {
  if (said.ended !== "refusal") return said;
  throw new HoneError(say.refused({ model: endpoint.model, url }, said.refusal ?? ""));
}

/** JSON in text is complete if its brackets close; arguments of a tool call may have been cut and closed by the API. */
function checkJson(question: Question, said: Said): Said {
  if (said.json !== undefined) checkComplete(question, said);
  return checkRefusal(question, said);
}

function checkComplete(question: Question, said: Said): void {
  const { url, request: { endpoint, max_tokens } } = question;
  const asked = { model: endpoint.model, url };
  checkRefusal(question, said);
  if (said.ended === "length") throw new HoneError(say.cut_off(asked, max_tokens));
  if (said.text === "") throw new HoneError(say.empty(asked));
}
