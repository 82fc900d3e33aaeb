/**
 * Records of the size that real rollouts have, for benches.
 * @module
 */
import type { RolloutRef, TurnRecord } from "../../pipeline/events.ts";

/** A turn whose prompt extends that of the turn before it, as our own endpoint gives them. */
export function sampleTurn(index: number, prompt: number, output: number): TurnRecord {
  return {
    type: "turn",
    index,
    input: [{
      role: index === 0 ? "user" : "tool",
      content: "Write hello to notes/a.txt, then list the folder. ".repeat(4),
    }],
    text: '<tool_call>{"name": "write_file", "arguments": {"path": "notes/a.txt", "content": "hello"}}</tool_call>',
    tool_calls: [{ id: `c${index}`, name: "write_file", arguments: { path: "notes/a.txt", content: "hello" } }],
    prompt_token_ids: Int32Array.from({ length: prompt }, (_, i) => i % 49152),
    output_token_ids: Int32Array.from({ length: output }, (_, i) => (prompt + i) % 49152),
    logprobs: Float32Array.from({ length: output }, (_, i) => -0.01 * i),
    finish_reason: "stop",
    prompt_tokens: prompt,
    output_tokens: output,
    seconds: 0.8,
  };
}

/** The reference of a training rollout. */
export function sampleRef(rollout_id: string): RolloutRef {
  return {
    rollout_id,
    group_id: "s0-g0",
    scenario_id: "write-note",
    purpose: "train",
    split: "train",
    temperature: 1,
    try: 0,
    policy: "step-1",
    policy_version: 2,
    step: 1,
    seed: 7,
    attempt: 1,
  };
}
