/** `hone train`: trains a model on a dataset. Writes the pipeline that this stands for, and runs it. @module */
import { resolve } from "node:path";
import { z } from "zod";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { common, dataset_flags, modelFrom, placesOf, writtenPipeline } from "./dataset_pipeline.ts";
import { type Ended, ended, endedJson, endedText } from "./ended.ts";
import { newId } from "./new_run.ts";
import { perform } from "./perform.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "train",
  summary: "Train a model on a dataset.",
  description:
    "Writes a pipeline that trains the model on a file of scenarios (splits train and heldout; validation if there is " +
    "one), says where, and runs it to its verdict and adapter. With reference solutions, it starts with a warm start.",
  effect: "runs",
  positional: [],
  args: z.strictObject({
    base_model: z.string().min(1).describe("A Hugging Face id, a folder, or the built-in smollm2-135m."),
    num_gpus: z.int().min(0).default(0).describe(
      "Number of CUDA GPUs. Only 0 is supported yet: this machine's CPU or Metal.",
    ),
    ...dataset_flags,
  }),
  result: ended,
  examples: ["hone train --base-model smollm2-135m --dataset tasks.jsonl --servers mcp.json --output-dir my-agent"],
  async detached() {
    const run_dir = resolve("runs", newId("train"));
    return { run_dir, words: ["--output-dir", run_dir, "--yes"] };
  },
  async run(call): Promise<Ended> {
    const { args } = call;
    if (args.num_gpus > 0) throw new HoneError(cli.no_gpu_trainer(args.num_gpus));
    const places = await placesOf(args, "train");
    const { fields, stages } = common(args, places, "train", "train");
    const pipeline: JsonObject = {
      ...fields,
      model: modelFrom(places, args.base_model),
      stages: [...stages, { use: "trainer/mlx" }, { use: "exporter/adapter" }],
      ladder: await hasSolutions(args.dataset) ? ["warm_start", "rl"] : ["rl"],
    };
    const loaded = await writtenPipeline(call, places, pipeline, { trains: true });
    return await perform(loaded, call, { run_dir: places.run_dir, resume: false });
  },
  formats: { json: endedJson },
  text: endedText,
  exit: ({ exit }) => exit,
});

/** Whether the dataset has reference solutions, which the warm start needs. */
async function hasSolutions(dataset: string): Promise<boolean> {
  const { readScenarios } = await import("../../pipeline/scenario/read_scenarios.ts");
  // What is wrong with the file, loading the pipeline says.
  const scenarios = await readScenarios([{ path: resolve(dataset), name: dataset }], { split: "train" }).catch(
    () => [],
  );
  return scenarios.some(({ split, solution }) => split === "train" && solution !== undefined);
}
