/**
 * `batch.v1`: the file that passes a batch of trajectories to the worker. JSON lines, one trajectory each; prompts as
 * prefix reference and suffix. Written atomically. The tests of both languages read the golden file next to the
 * worker's tests.
 * @module
 */
import { writeAside } from "../common/write_aside.ts";
import { commonPrefix } from "./token_prefix.ts";

/** One turn as the endpoint returned it; `logprobs` is null in supervised rows. */
export interface BatchTurn {
  prompt_ids: ArrayLike<number>;
  output_ids: ArrayLike<number>;
  logprobs: ArrayLike<number> | null;
  finish_reason: string;
}

/** One trajectory of a batch. `weight` scales its loss, `advantage` its direction. */
export interface BatchRow {
  rollout_id: string;
  group_id: string;
  policy_version: number;
  advantage: number;
  weight: number;
  turns: BatchTurn[];
}

/** Writes the rows to `path`. */
export async function writeBatch(path: string, rows: BatchRow[]): Promise<void> {
  await writeAside(path, rows.map((row) => JSON.stringify(line(row)) + "\n").join(""));
}

function line(row: BatchRow) {
  let before: number[] = [];
  const turns = row.turns.map(({ prompt_ids, output_ids, logprobs, finish_reason }) => {
    const prefix_len = commonPrefix(before, prompt_ids);
    const prompt = Array.from(prompt_ids);
    const output = Array.from(output_ids);
    before = [...prompt, ...output];
    return {
      prefix_len,
      prompt_suffix_ids: prompt.slice(prefix_len),
      output_ids: output,
      logprobs: logprobs && Array.from(logprobs),
      finish_reason,
    };
  });
  const { rollout_id, group_id, policy_version, advantage, weight } = row;
  return { schema: "batch.v1", rollout_id, group_id, policy_version, advantage, weight, turns };
}
