import assert from "node:assert/strict";
import { pipeline_schema } from "../../config/pipeline_schema.ts";
import { learningRate } from "./batcher.ts";

const train = (settings: Record<string, unknown>) =>
  pipeline_schema.shape.train.parse({ steps: 4, learning_rate: 0.8, ...settings });

Deno.test("learningRate() stays where nothing is said, and falls in a line where told", () => {
  assert.deepEqual([0, 3].map((k) => learningRate(train({}), k)), [0.8, 0.8]);
  const falling = [0, 1, 2, 3].map((k) => learningRate(train({ learning_rate_decay: "linear" }), k));
  assert.deepEqual(falling.map((rate) => rate.toFixed(3)), ["0.800", "0.600", "0.400", "0.200"]);
});
