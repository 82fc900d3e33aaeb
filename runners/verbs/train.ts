/** `hone train`: trains a model on a dataset. Writes the pipeline that this stands for, and runs it. @module */
import { resolve } from "node:path";
import { z } from "zod";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { cudaDevices } from "../../pipeline/program/cuda_devices.ts";
import { common, dataset_flags, modelFrom, placesOf, writtenPipeline } from "./dataset_pipeline.ts";
import { type Ended, ended, endedJson, endedText } from "./ended.ts";
import { newId } from "./new_run.ts";
import { perform } from "./perform.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "train",
  summary: "Train a model on a dataset.",
  description:
    "Writes a pipeline that trains the model on a file of scenarios (splits train and heldout, and validation if there is " +
    "one; if there are none, a fifth of the tasks is held out), says where, and runs it to its verdict. The adapter is in " +
    "final/ of the run's folder. With reference solutions, it starts with a warm start.",
  effect: "runs",
  positional: [],
  args: z.strictObject({
    base_model: z.string().min(1).describe("A Hugging Face id, a folder, or the built-in smollm2-135m."),
    num_gpus: z.int().min(0).default(0).describe(
      "Number of NVIDIA GPUs, by trainer/lightning; 0: this machine's CPU or Metal, by trainer/mlx.",
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
    const { args, signal } = call;
    const trainer = await trainerFor(args.num_gpus, signal);
    const places = await placesOf(args, "train");
    const { fields, stages } = common(args, places, "train", "auto");
    const pipeline: JsonObject = {
      ...fields,
      model: modelFrom(places, args.base_model),
      stages: [...stages, trainer, { id: "final", use: "exporter/adapter" }],
      ladder: await hasSolutions(args.dataset) ? ["warm_start", "rl"] : ["rl"],
    };
    const loaded = await writtenPipeline(call, places, pipeline, { trains: true });
    return await perform(loaded, call, { run_dir: places.run_dir, resume: false });
  },
  formats: { json: endedJson },
  text: endedText,
  exit: ({ exit }) => exit,
});

async function trainerFor(num_gpus: number, signal: AbortSignal): Promise<JsonObject> {
  if (num_gpus === 0) return { use: "trainer/mlx" };
  // Where only the worker can count them, it says what is missing.
  const there = (await cudaDevices(signal))?.length ?? num_gpus;
  if (there < num_gpus) throw new HoneError(cli.too_few_gpus(num_gpus, there));
  return { use: "trainer/lightning", with: { devices: num_gpus } };
}

/** Whether the dataset has reference solutions, which the warm start needs. */
async function hasSolutions(dataset: string): Promise<boolean> {
  const { readScenarios } = await import("../../pipeline/scenario/read_scenarios.ts");
  // What is wrong with the file, loading the pipeline says.
  const scenarios = await readScenarios([{ path: resolve(dataset), name: dataset }], { split: "auto" }).catch(
    () => [],
  );
  return scenarios.some(({ split, solution }) => split === "train" && solution !== undefined);
}
