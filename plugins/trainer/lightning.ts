/**
 * Trains LoRA adapters with PyTorch Lightning and PEFT: on NVIDIA GPUs, one or many, on one machine or several, and on
 * CPUs. Rollouts come from vLLM, which the worker starts or is given by address, or from the model that is trained.
 * @module
 */
import { definePlugin, ensureVllmEnv, type JsonObject, type OpenOnlineArgs, type Plugin } from "@hone/hone";
import { join, resolve } from "node:path";
import { z } from "zod";
import {
  type Hello,
  type LocalWorker,
  lora_fields,
  model_fields,
  openLocal,
  python_field,
  type Surroundings,
} from "./local_trainer.ts";

/** In the words of `launch`: the Python of the worker's environment. */
const PYTHON = "{python}";

const logger = z.discriminatedUnion("name", [
  z.strictObject({ name: z.literal("csv").describe("A file, which is written in any case.") }),
  z.strictObject({ name: z.literal("tensorboard").describe("TensorBoard's files.") }),
  z.strictObject({
    name: z.literal("wandb").describe("Weights & Biases."),
    project: z.string().min(1).default("hone").describe("Project of the run."),
    entity: z.string().min(1).optional().describe("User or team. Default: the account's own.").meta({
      examples: ["my-team"],
    }),
    offline: z.boolean().default(false).describe("Write files for `wandb sync`, and send nothing."),
  }),
  z.strictObject({
    name: z.literal("mlflow").describe("An MLflow server."),
    tracking_uri: z.string().min(1).optional().describe(
      "Address of the server, or a folder. Default: MLFLOW_TRACKING_URI, or a folder of the run.",
    ).meta({ examples: ["http://127.0.0.1:5000"] }),
    experiment_name: z.string().min(1).default("hone").describe("Experiment of the run."),
  }),
]);

const rollouts = z.strictObject({
  engine: z.enum(["auto", "worker", "vllm"]).default("auto").describe(
    "What generates: `vllm`, or `worker`, the model that is trained; `auto`: vLLM where there is a CUDA device and `quantize` is none.",
  ),
  urls: z.array(z.url({ protocol: /^https?$/ })).default([]).describe(
    "vLLM servers that run already, started with `--enable-lora`; empty: the worker starts its own.",
  ),
  api_key_env: z.string().min(1).optional().describe("Environment variable that holds the API key of `urls`.").meta({
    examples: ["VLLM_API_KEY"],
  }),
  adapter_dir: z.string().min(1).optional().describe(
    "Folder for adapters that the servers of `urls` read under the same path. Default: a temporary folder.",
  ).meta({ examples: ["/shared/adapters"] }),
  replicas: z.int().min(0).default(0).describe("Number of servers to start; 0: as many as the GPUs allow."),
  tensor_parallel_size: z.int().min(1).default(1).describe("Number of GPUs of each server."),
  gpu_memory_utilization: z.number().positive().max(1).optional().describe(
    "Share of a GPU's memory that a server may use. Default: 0.9, and 0.4 where it shares the GPU with training.",
  ).meta({ examples: [0.5] }),
  max_model_len: z.int().min(0).default(0).describe("Context of the servers in tokens; 0: that of the run."),
  args: z.array(z.string()).default([]).describe("Further arguments of `vllm serve`.").meta({ program: true }),
  python: z.string().optional().describe(
    "Python interpreter that has vLLM, instead of the environment that hone makes.",
  ).meta({ examples: ["/opt/vllm/bin/python"], program: true }),
}).superRefine((value, context) => {
  const refuse = (field: string, message: string) => context.addIssue({ code: "custom", path: [field], message });
  const { engine, urls, api_key_env, adapter_dir, python, args } = value;
  if (engine === "worker" && urls.length > 0) refuse("urls", "must be left out: engine is worker");
  if (urls.length > 0 && python !== undefined) refuse("python", "must be left out: urls name servers that run already");
  if (urls.length > 0 && args.length > 0) refuse("args", "must be left out: urls name servers that run already");
  if (urls.length === 0 && adapter_dir !== undefined) {
    refuse("adapter_dir", "is for servers of urls, and there are none");
  }
  if (urls.length === 0 && api_key_env !== undefined) {
    refuse("api_key_env", "is for servers of urls, and there are none");
  }
});

const config = z.strictObject({
  lora: z.strictObject({
    ...lora_fields,
    dropout: z.number().min(0).lt(1).default(0).describe(
      "Share of the adapter's inputs that training drops. 0 keeps training on-policy: rollouts never drop any.",
    ),
  }).prefault({}).describe("The LoRA adapter."),
  ...model_fields,
  python: python_field,
  precision: z.enum(["auto", "fp32", "bf16", "fp16"]).default("auto").describe(
    "Of the frozen weights; `auto`: bf16 on CUDA, fp32 on a CPU. The adapter is always fp32.",
  ),
  quantize: z.enum(["none", "4bit"]).default("none").describe("Frozen weights in 4 bits (QLoRA); needs CUDA."),
  gradient_checkpointing: z.union([z.literal("auto"), z.boolean()]).default("auto").describe(
    "Compute layers twice instead of keeping their activations; `auto`: where memory needs it.",
  ),
  micro_batch_tokens: z.int().min(0).default(0).describe(
    "Maximum number of tokens that a pass computes together; 0: by the memory there is.",
  ),
  prefix_sharing: z.enum(["auto", "always", "never"]).default("auto").describe(
    "Compute tokens that several rollouts begin with once; `auto`: where it is faster.",
  ),
  devices: z.union([z.literal("auto"), z.int().min(1)]).default("auto").describe(
    "Number of processes that train on each machine, one per GPU; `auto`: all GPUs, or one process on a CPU.",
  ),
  nodes: z.int().min(1).default(1).describe("Number of machines."),
  strategy: z.enum(["ddp", "fsdp2"]).default("ddp").describe(
    "`ddp`: each process holds the whole model; `fsdp2`: they share it, for models that do not fit one GPU.",
  ),
  launch: z.array(z.string().min(1)).default([]).describe(
    `Words before the worker's command, for several machines; \`${PYTHON}\` is the worker's Python.`,
  ).meta({ program: true }),
  rollouts: rollouts.prefault({}).describe("What generates the rollouts."),
  loggers: z.array(logger).default([]).describe(
    "Where figures of each step go besides the run's records and `trainer/csv/` in its folder.",
  ),
  carbon: z.strictObject({
    country_iso_code: z.string().regex(/^[A-Z]{3}$/, "must be three capital letters, such as DEU").describe(
      "Country whose electricity is assumed (ISO 3166-1 alpha-3).",
    ).meta({ examples: ["DEU"] }),
  }).optional().describe("Estimate the energy and emissions of training with CodeCarbon, offline.").meta({
    examples: [{ country_iso_code: "DEU" }],
  }),
  reuse_sampled_states: z.boolean().default(false).describe(
    "Only for trainer/mlx; accepted, so that a pipeline can change its trainer, and without effect.",
  ),
}).superRefine((value, context) => {
  const refuse = (field: string, message: string) =>
    context.addIssue({ code: "custom", path: field.split("."), message });
  const { strategy, quantize, rollouts, nodes, launch } = value;
  if (strategy === "fsdp2" && rollouts.engine === "worker") {
    refuse("strategy", "fsdp2 cannot generate with the model that it shares out: set rollouts.engine to vllm");
  }
  if (strategy === "fsdp2" && quantize === "4bit") {
    refuse("quantize", "4bit weights cannot be shared out by fsdp2: set strategy to ddp");
  }
  if (quantize === "4bit" && rollouts.engine === "vllm" && rollouts.urls.length === 0 && !rollouts.python) {
    refuse("rollouts.engine", "vllm cannot compute with 4bit weights: leave it out, and the trained model generates");
  }
  if (nodes > 1 && launch.length === 0) {
    refuse("nodes", 'needs launch, which starts the worker on every machine, such as [srun, "--nodes=2", "--input=0"]');
  }
});

type Config = z.output<typeof config>;

const plugin: Plugin<"trainer"> = definePlugin({
  kind: "trainer",
  name: "lightning",
  summary: "Trains LoRA adapters with PyTorch Lightning on NVIDIA GPUs, or on CPUs; rollouts by vLLM.",
  config,
  starts: "its Python worker, hone_worker, and vLLM where there is a CUDA device",
  examples: [
    { title: "Defaults", with: {} },
    {
      title: "A larger model in 4 bits, on one GPU",
      with: { quantize: "4bit", lora: { rank: 16, alpha: 32 }, context_tokens: 32768 },
    },
    {
      title: "Four GPUs that share the model, and rollouts by servers that run already",
      with: { devices: 4, strategy: "fsdp2", rollouts: { engine: "vllm", urls: ["http://gpu-2:8000"] } },
    },
    {
      title: "Two machines under SLURM, with figures in TensorBoard",
      with: {
        nodes: 2,
        devices: 8,
        launch: ["srun", "--nodes=2", "--ntasks-per-node=8", "--input=0"],
        loggers: [{ name: "tensorboard" }],
      },
    },
  ],
  create: (given) => ({ mode: "online", open: (args) => openLocal(args, given, workerOf(args, given)) }),
});
export default plugin;

function workerOf(args: OpenOnlineArgs, around: Surroundings<Config>): LocalWorker {
  const { config, log } = around;
  const { launch, reuse_sampled_states } = config;
  if (reuse_sampled_states) log.warn("reuse_sampled_states has no effect: only trainer/mlx has it");
  return {
    environment: "lightning",
    ...(launch.length > 0 && {
      command: (python) => [
        ...launch.map((word, at) => word === PYTHON ? python : at === 0 ? beside(around, word) : word),
        ...[python, "-m", "hone_worker"],
      ],
    }),
    // With `launch`, it may wait for machines.
    start_secs: launch.length > 0 ? 3600 : 300,
    init: () => ({ engine_options: engineOptions(around, args.run_dir) }),
    serve: async (hello) => ({ vllm: await vllmOptions(args, around, hello) }),
  };
}

/** A path as the file means it; the worker runs elsewhere. A single word is left to PATH. */
function beside({ base_dir }: Surroundings<Config>, path: string): string {
  return path.includes("/") ? resolve(base_dir, path) : path;
}

function engineOptions(around: Surroundings<Config>, run_dir: string): JsonObject {
  const { config, base_dir } = around;
  const { precision, quantize, gradient_checkpointing, micro_batch_tokens, prefix_sharing } = config;
  const { devices, nodes, strategy, loggers, carbon } = config;
  return {
    precision,
    quantize: quantize === "none" ? null : quantize,
    gradient_checkpointing,
    micro_batch_tokens,
    prefix_sharing,
    devices,
    nodes,
    strategy,
    loggers: loggers.map((one) => "tracking_uri" in one ? { ...one, ...absolute(one.tracking_uri, base_dir) } : one),
    log_dir: join(run_dir, "trainer"),
    carbon: carbon ?? null,
  };
}

/** Of an MLflow logger: a folder is one beside the pipeline. */
function absolute(uri: string | undefined, base_dir: string): { tracking_uri?: string } {
  return uri === undefined || /^[a-z][a-z0-9+.-]*:|^databricks$/i.test(uri)
    ? {}
    : { tracking_uri: resolve(base_dir, uri) };
}

/** What `serve` is told of vLLM; null: the worker generates with the model that it trains. */
async function vllmOptions(
  args: OpenOnlineArgs,
  around: Surroundings<Config>,
  hello: Hello,
): Promise<JsonObject | null> {
  const { config: { rollouts, quantize }, signal, base_dir } = around;
  const { engine, urls, api_key_env, adapter_dir, replicas, max_model_len } = rollouts;
  const suits = hello.device === "gpu" && quantize === "none";
  if (urls.length === 0 && (engine === "worker" || engine === "auto" && !suits)) return null;
  const given = { max_model_len: max_model_len || null };
  if (urls.length > 0) {
    const api_key = api_key_env === undefined ? null : Deno.env.get(api_key_env) ?? null;
    return { ...given, urls, api_key, adapter_dir: adapter_dir ? resolve(base_dir, adapter_dir) : null };
  }
  const { python } = rollouts.python === undefined
    ? await ensureVllmEnv({ on_progress: args.on_progress, signal })
    : { python: beside(around, rollouts.python) };
  const { tensor_parallel_size, gpu_memory_utilization = null, args: more } = rollouts;
  return { ...given, python, replicas: replicas || null, tensor_parallel_size, gpu_memory_utilization, args: more };
}
