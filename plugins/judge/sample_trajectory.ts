/**
 * A trajectory for the tests of judges.
 * @module
 */
import type { CallOutcome, JsonObject, ToolCallRecord, Trajectory, TurnRecord } from "@hone/hone";

/** A rollout that answered "Done." without a call; `given` replaces parts of it. */
export function trajectory(given: Partial<Trajectory> = {}): Trajectory {
  return {
    rollout_id: "r1",
    group_id: "g1",
    scenario_id: "s1",
    purpose: "train",
    split: "train",
    temperature: 1,
    try: 0,
    policy: "base",
    policy_version: 0,
    step: 0,
    seed: 0,
    attempt: 1,
    turns: [turn()],
    tool_calls: [],
    outcome: { end: "answered", answer: "Done." },
    observations: {},
    seconds: 1,
    ...given,
  };
}

/** A turn without a call. */
export function turn(given: Partial<TurnRecord> = {}): TurnRecord {
  const numbers = { index: 0, prompt_tokens: 1, output_tokens: 1, seconds: 0 };
  return { type: "turn", input: [], text: "Done.", tool_calls: [], finish_reason: "stop", ...numbers, ...given };
}

/** A call of a tool of server "files". */
export function toolCall(tool: string, args: JsonObject = {}, outcome: CallOutcome = "ok"): ToolCallRecord {
  const base = {
    type: "tool_call" as const,
    turn: 0,
    index: 0,
    server: "files",
    text: "",
    result: null,
    truncated: false,
  };
  return { ...base, tool, arguments: args, outcome, seconds: 0 };
}
