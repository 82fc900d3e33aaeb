/**
 * The language models' replies to stages on a tape, during a replay: several replies to one request are returned in the
 * order of the recording, then the last one repeatedly.
 * @module
 */
import { canonical } from "../common/json.ts";
import type { JsonObject } from "../events.ts";
import { digest } from "../common/digest.ts";
import { lastWords, type TapedLlm } from "./lines.ts";

/** The answers of one replay. */
export class LlmAnswers {
  readonly #by_key = new Map<string, TapedLlm[]>();

  constructor(private readonly lines: readonly TapedLlm[]) {
    for (const line of lines) {
      const known = this.#by_key.get(line.key);
      if (known) known.push(line);
      else this.#by_key.set(line.key, [line]);
    }
    for (const [key, answers] of this.#by_key) this.#by_key.set(key, withoutMended(answers));
  }

  /** The next answer to a masked question, or undefined where the tape does not have it. */
  take(request: JsonObject): TapedLlm | undefined {
    const answers = this.#by_key.get(digest(request)) ?? [];
    return answers.length > 1 ? answers.shift() : answers[0];
  }

  /** What the tape has for a stage, and what differs where one of it follows the same message. */
  near(stage: string, request: JsonObject): { of_stage: number; differs: string[] | null } {
    const of_stage = this.lines.filter((line) => line.stage === stage);
    const last = lastWords(request.messages);
    const same = of_stage.find((line) => lastWords(line.request.messages) === last);
    return { of_stage: of_stage.length, differs: same ? differing(same.request, request) : null };
  }
}

/** Without failures after which a resumed run had an answer to the same question. */
function withoutMended(answers: TapedLlm[]): TapedLlm[] {
  const last = answers.findLastIndex(({ outcome }) => outcome === "ok");
  return answers.filter(({ outcome }, index) => outcome === "ok" || index > last);
}

function differing(a: JsonObject, b: JsonObject): string[] {
  const text = (value: JsonObject, key: string) => value[key] === undefined ? "" : canonical(value[key]);
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((key) => text(a, key) !== text(b, key));
}
