/**
 * Trains LoRA adapters on this machine, in a worker process that serves the policy and trains the same weights: models
 * of Llama's shape on CPUs with hone's own NumPy layers, all others through mlx-lm. The worker's Python environment is
 * created on first use.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import { z } from "zod";
import { type LocalWorker, lora_fields, model_fields, openLocal, python_field } from "./local_trainer.ts";

const config = z.strictObject({
  lora: z.strictObject(lora_fields).prefault({}).describe("The LoRA adapter."),
  ...model_fields,
  reuse_sampled_states: z.boolean().default(false).describe(
    "Reuse the sampler's activations of the frozen layers for training: faster, but not bitwise deterministic.",
  ),
  python: python_field,
});

type Config = z.output<typeof config>;

const plugin: Plugin<"trainer"> = definePlugin({
  kind: "trainer",
  name: "mlx",
  summary: "Trains LoRA adapters on this machine: Llama's shape on CPUs in NumPy, everything else with MLX.",
  config,
  starts: "its Python worker, hone_worker",
  examples: [
    { title: "Defaults", with: {} },
    { title: "Only the last ten layers", with: { lora: { rank: 8, last_layers: 10 } } },
  ],
  create: (given) => ({ mode: "online", open: (args) => openLocal(args, given, workerOf(given.config)) }),
});
export default plugin;

function workerOf({ reuse_sampled_states }: Config): LocalWorker {
  return { environment: "mlx", start_secs: 120, init: () => ({ reuse_sampled_states }) };
}
