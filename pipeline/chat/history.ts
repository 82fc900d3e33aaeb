/**
 * Keeps a conversation within the policy's context: if it grows too long, its oldest tool results are truncated, then,
 * if that is not enough, replaced by a mark. Everything else is kept, including the newest results. It is shortened to
 * well below the limit, so that the next turns only extend it. Deterministic for the same conversation and the same
 * responses of the endpoint.
 * @module
 */
import type { ChatMessage, Shortened, ToolSpec } from "../events.ts";
import type { Agent, Policy } from "../plugin.ts";
import { beginning, resultMessages, type ShownResult } from "./formats.ts";
import { CHARS_PER_TOKEN, estimateTool } from "./tool_text.ts";

/** What is left of a result: first its beginning, then nothing but the mark. */
const KEPT_CHARS = [200, 0];
/** What is too long is brought down to this share of the limit. */
const TARGET = 0.75;
/** Maximum retries of one turn after the endpoint found it too long. */
const RETRIES = 3;

/** Results of tools, all those of one message. */
interface Held {
  message: number;
  whole: ShownResult[];
  /** Characters that each text has at most. */
  kept: number;
}

/** A conversation. */
export class History {
  /** As it is sent; the array is the same throughout. */
  readonly messages: ChatMessage[] = [];
  readonly #held: Held[] = [];
  readonly #tools_chars: number;
  /** Where the newest results begin in `#held`. */
  #newest = 0;
  #chars = 0;
  #chars_per_token = CHARS_PER_TOKEN;
  /** What the endpoint has found too long. */
  #too_long = Infinity;
  #retries = 0;
  #shortened = new Map<number, Shortened>();

  /** `tools` are those that requests carry beside the messages. */
  constructor(private readonly policy: Policy, private readonly agent: Agent, tools: readonly ToolSpec[]) {
    const sent = policy.tool_format === "native" && policy.context_tokens > 0 ? tools : [];
    this.#tools_chars = sent.reduce((sum, tool) => sum + estimateTool(tool, "native"), 0) * CHARS_PER_TOKEN;
  }

  /** Adds messages that are never shortened; returns them. */
  add(messages: ChatMessage[]): ChatMessage[] {
    for (const message of messages) this.#chars += size(message);
    this.messages.push(...messages);
    return messages;
  }

  /** Adds the results of one turn; returns their messages. */
  addResults(results: ShownResult[]): ChatMessage[] {
    const format = this.policy.tool_format;
    this.#newest = this.#held.length;
    const apart = format === "native" ? results.map((result) => [result]) : [results];
    for (const [index, whole] of apart.entries()) {
      this.#held.push({ message: this.messages.length + index, whole, kept: Infinity });
    }
    return this.add(resultMessages(results, format));
  }

  /** Makes the conversation fit, as far as the limit is known. */
  fit(): void {
    this.#retries = 0;
    const limit = this.#limit();
    if (this.#chars > limit) this.#shorten(limit * TARGET);
  }

  /** Shortens what the endpoint found too long; false where it should not be asked again. */
  refused(): boolean {
    this.#too_long = Math.min(this.#too_long, this.#chars - 1);
    return this.#retries++ < RETRIES && this.#shorten(this.#limit() * TARGET);
  }

  /** Learns from what the endpoint counted; 0 where it does not say. */
  answered(prompt_tokens: number): void {
    if (prompt_tokens > 0) this.#chars_per_token = (this.#tools_chars + this.#chars) / prompt_tokens;
  }

  /** What was shortened since this was last asked, in the order of the messages. */
  takeShortened(): Shortened[] {
    const taken = [...this.#shortened.values()].sort((a, b) => a.message - b.message);
    this.#shortened = new Map();
    return taken;
  }

  /** Characters that the messages may have. */
  #limit(): number {
    const { context_tokens, sampling } = this.policy;
    const asked = this.agent.max_history_chars ?? Infinity;
    if (context_tokens === 0) return Math.min(asked, this.#too_long);
    // Some endpoints take any `max_tokens` and use what is left, so that it may be as large as the context.
    const answer = Math.min(this.agent.max_tokens, sampling.max_tokens, context_tokens / 2);
    const fits = (context_tokens - answer) * this.#chars_per_token - this.#tools_chars;
    return Math.max(0, Math.min(asked, this.#too_long, fits));
  }

  /** Shortens old results until the messages have no more than `chars`; true where anything changed. */
  #shorten(chars: number): boolean {
    const before = this.#chars;
    for (const kept of KEPT_CHARS) {
      for (const held of this.#held.slice(0, this.#newest)) {
        if (this.#chars <= chars) return this.#chars < before;
        if (held.kept > kept) this.#cut(held, kept);
      }
    }
    return this.#chars < before;
  }

  #cut(held: Held, kept: number): void {
    held.kept = kept;
    const { message: at, whole } = held;
    const old = this.messages[at]!;
    const results = whole.map((result) => ({ ...result, text: shortenText(result.text, kept) }));
    const [made] = resultMessages(results, this.policy.tool_format);
    if (!made || made.content.length >= old.content.length) return;
    this.messages[at] = made;
    this.#chars += made.content.length - old.content.length;
    const from = this.#shortened.get(at)?.from ?? old.content.length;
    this.#shortened.set(at, { message: at, from, to: made.content.length });
  }
}

/** The text's beginning with a mark of what was left out; the text itself where that is not shorter. */
export function shortenText(text: string, kept_chars: number): string {
  const kept = beginning(text, kept_chars);
  const mark = `[… ${text.length - kept.length} characters left out …]`;
  const short = kept ? `${kept}\n${mark}` : mark;
  return short.length < text.length ? short : text;
}

function size({ content, tool_calls = [] }: ChatMessage): number {
  return tool_calls.reduce((sum, call) => sum + call.function.name.length + call.function.arguments.length, 0) +
    content.length;
}
