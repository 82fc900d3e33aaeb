import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type BatchRow, writeBatch } from "./batch_file.ts";

const GOLDEN = join(import.meta.dirname!, "../../plugins/trainer/worker/tests/golden/batch.v1.jsonl");

/**
 * The trajectories of the golden file: a chain, one whose answer was re-tokenised, and a demonstration. Their logprobs are
 * those of the built-in model, within 1/32.
 */
const ROWS: BatchRow[] = [
  {
    rollout_id: "r1",
    group_id: "g1",
    policy_version: 3,
    advantage: 0.5,
    weight: 1,
    turns: [
      {
        prompt_ids: Int32Array.of(1, 10, 11, 2),
        output_ids: Int32Array.of(20, 21, 2),
        logprobs: Float32Array.of(-9.9375, -8.375, -15.8125),
        finish_reason: "tool_calls",
      },
      {
        prompt_ids: Int32Array.of(1, 10, 11, 2, 20, 21, 2, 1, 30, 2),
        output_ids: Int32Array.of(22, 2),
        logprobs: Float32Array.of(-17, -9.3125),
        finish_reason: "stop",
      },
    ],
  },
  {
    rollout_id: "r2",
    group_id: "g1",
    policy_version: 3,
    advantage: -0.5,
    weight: 1,
    turns: [
      {
        prompt_ids: [1, 10, 11, 2],
        output_ids: [23, 24, 25],
        logprobs: [-8.625, -6, -8.5625],
        finish_reason: "length",
      },
      {
        prompt_ids: [1, 10, 11, 2, 23, 24, 26, 1, 31, 2],
        output_ids: [27, 2],
        logprobs: [-4.25, -8.5625],
        finish_reason: "stop",
      },
    ],
  },
  {
    rollout_id: "demo-1",
    group_id: "demo",
    policy_version: 0,
    advantage: 0,
    weight: 0.5,
    turns: [{ prompt_ids: [1, 12, 2], output_ids: [28, 2], logprobs: null, finish_reason: "stop" }],
  },
];

async function written(rows: BatchRow[]): Promise<string> {
  const dir = await Deno.makeTempDir();
  try {
    await writeBatch(join(dir, "b.jsonl"), rows);
    assert.deepEqual(await readdir(dir), ["b.jsonl"]);
    return await readFile(join(dir, "b.jsonl"), "utf8");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("writeBatch() writes the golden file that the worker's tests read", async () => {
  const parsed = (text: string) => text.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(parsed(await written(ROWS)), parsed(await readFile(GOLDEN, "utf8")));
});

Deno.test("writeBatch() keeps float32 logprobs exactly", async () => {
  const logprobs = Float32Array.of(-0.1, -1e-7, -12.345678);
  const [row] = ROWS;
  const turns = [{ ...row!.turns[0]!, logprobs }];
  const line = JSON.parse(await written([{ ...row!, turns }]));
  assert.deepEqual(Float32Array.from(line.turns[0].logprobs), logprobs);
});

Deno.test("writeBatch() writes an empty file when there are no rows", async () => {
  assert.equal(await written([]), "");
});
