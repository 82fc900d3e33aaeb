/** Sequences of token ids: their common prefix, and the ids of a turn as one sequence. @module */
import type { TurnRecord } from "../events.ts";

/** Length of the common prefix of two id sequences. */
export function commonPrefix(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}

/** Prompt and output ids of a turn as one sequence. */
export function joined(prompt: Int32Array, output: TurnRecord["output_token_ids"]): Int32Array {
  const all = new Int32Array(prompt.length + (output?.length ?? 0));
  all.set(prompt);
  if (output) all.set(output, prompt.length);
  return all;
}
