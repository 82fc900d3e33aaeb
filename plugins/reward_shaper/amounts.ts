/**
 * What the reward shapers compute with: the judges' scores and their parts, by name, and counts of a rollout.
 * @module
 */
import type { Judgement, ToolCallRecord, Trajectory } from "@hone/hone";

/** What is counted in a rollout, with the words of the settings that weigh it. */
export const COUNTS = {
  call: "tool call, failed ones included",
  turn: "turn of the model",
  output_token: "token that the model sampled",
  error: "tool call that failed (error, timeout, denied, …); calls that fit no tool are invalid calls instead",
  recovery: "successful call directly after an error or an invalid call; should weigh less than that costs",
  invalid_call: "reply that is no readable call, or call that fits no tool or not its schema",
} as const;

/** Name of a count. */
export type Count = keyof typeof COUNTS;

/** Counts a rollout's calls, turns, tokens, mistakes and recoveries. */
export function counted({ turns, tool_calls }: Pick<Trajectory, "turns" | "tool_calls">): Record<Count, number> {
  const misfit = ({ outcome }: ToolCallRecord) => outcome === "unknown_tool" || outcome === "invalid_arguments";
  const unreadable = turns.filter(({ invalid_call }) => invalid_call !== undefined);
  return {
    call: tool_calls.length,
    turn: turns.length,
    output_token: turns.reduce((sum, { output_tokens }) => sum + output_tokens, 0),
    error: tool_calls.filter((call) => call.outcome !== "ok" && !misfit(call)).length,
    recovery: recoveries([
      ...unreadable.map(({ index }) => ({ turn: index, index: -1, ok: false })),
      ...tool_calls.map(({ turn, index, outcome }) => ({ turn, index, ok: outcome === "ok" })),
    ]),
    invalid_call: unreadable.length + tool_calls.filter(misfit).length,
  };
}

function recoveries(attempts: { turn: number; index: number; ok: boolean }[]): number {
  const inOrder = attempts.toSorted((a, b) => a.turn - b.turn || a.index - b.index);
  return inOrder.filter(({ ok }, i) => ok && inOrder[i - 1]?.ok === false).length;
}

/** The score or part that `source` names, null if its judge abstains, or the reason why there is none. */
export function amount(source: string, judgements: Record<string, Judgement>): number | string | null {
  const dot = source.lastIndexOf(".");
  const judge = Object.hasOwn(judgements, source) || dot < 0 ? source : source.slice(0, dot);
  const judgement = Object.hasOwn(judgements, judge) ? judgements[judge]! : undefined;
  if (!judgement) {
    return `unknown judge ${JSON.stringify(judge)}: expected one of ${Object.keys(judgements).join(", ")}`;
  }
  if ("invalid" in judgement) return `${judge}: ${judgement.invalid}`;
  if ("abstain" in judgement) return null;
  if (judge === source) return judgement.score;
  const part = source.slice(dot + 1);
  const { parts = {} } = judgement;
  return Object.hasOwn(parts, part) ? parts[part]! : `${judge} has no part ${JSON.stringify(part)}`;
}

/** A reward in the making: its named parts, whose sum is its value. */
export class Sum {
  readonly parts: Record<string, number> = {};
  value = 0;

  /** Adds a part. */
  add(name: string, part: number) {
    this.parts[name] = (this.parts[name] ?? 0) + part;
    this.value += part;
  }

  /** Changes the value to `value`; the difference is a part. */
  set(name: string, value: number) {
    this.parts[name] = (this.parts[name] ?? 0) + value - this.value;
    this.value = value;
  }
}
