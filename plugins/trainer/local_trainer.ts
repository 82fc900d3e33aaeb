/**
 * What trainers on this machine share: the settings of adapter and optimizer, and the worker process `hone_worker`, which
 * serves the policy and trains the same weights.
 * @module
 */
import {
  cacheDir,
  ensureWorkerEnv,
  type JsonObject,
  type Log,
  type ModelFacts,
  type OnlineTrainer,
  type OpenOnlineArgs,
  type Policy,
  type StepArgs,
  type StepReport,
  type ToolFormat,
  type TrainerMetric,
  Worker,
} from "@hone/hone";
import { existsSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { z } from "zod";

/** Time for a worker to end what it started; one that is dead or was killed takes none of it. */
const SHUTDOWN_SECS = 10;

/** Fields of `lora:`. */
export const lora_fields = {
  rank: z.int().min(1).default(8).describe("Rank of the adapter."),
  alpha: z.number().positive().default(16).describe("Scale of the adapter, as alpha / rank."),
  last_layers: z.int().min(0).default(0).describe("Number of last layers to train; 0: all."),
  target_modules: z.union([z.literal("all-linear"), z.array(z.string())]).default("all-linear")
    .describe("Linear layers that get an adapter, by the last part of their name."),
};

const optimizer = z.strictObject({
  warmup_steps: z.int().min(0).default(0).describe("Steps of linear learning-rate warmup."),
  weight_decay: z.number().min(0).default(0).describe("Decoupled weight decay."),
  beta1: z.number().min(0).lt(1).default(0.9).describe("Decay rate of AdamW's first moment."),
  beta2: z.number().min(0).lt(1).default(0.999).describe("Decay rate of AdamW's second moment."),
  eps: z.number().positive().default(1e-8).describe("Epsilon of AdamW."),
  grad_clip: z.number().min(0).default(1).describe("Maximum global gradient norm; 0: no clipping."),
}).prefault({}).describe("Settings of AdamW.");

/** Settings of optimizer, chat and context. */
export const model_fields = {
  optimizer,
  tool_format: z.enum(["auto", "native", "hermes", "json", "llama_json", "qwen_xml", "pythonic", "mistral"]).default(
    "auto",
  )
    .describe(
      "Format in which tools are shown and calls are parsed; `auto`: the chat template's own format, or json if it does not support tools.",
    ),
  context_tokens: z.int().min(0).default(0).describe("Maximum context length in tokens; 0: the model's own."),
};

/** The setting that names another Python. */
export const python_field = z.string().optional().describe("Python interpreter of the worker's environment.").meta({
  examples: ["/usr/bin/python3.12"],
  program: true,
});

/** Settings that every local trainer has. */
interface LocalSettings {
  lora: JsonObject;
  optimizer: JsonObject;
  tool_format: ToolFormat | "auto";
  context_tokens: number;
  python?: string;
}

/** What a local trainer is given when it is created. */
export interface Surroundings<Settings extends LocalSettings> {
  config: Settings;
  log: Log;
  signal: AbortSignal;
  base_dir: string;
}

/** What the worker says of itself when it starts. */
export type Hello = JsonObject;

/** How a trainer's worker differs from others. */
export interface LocalWorker {
  /** Its Python environment. */
  environment: "mlx" | "lightning";
  /** The worker's command; default: `python -m hone_worker`. */
  command?: (python: string) => string[];
  /** How long it may take to start, in seconds. */
  start_secs: number;
  /** Further parameters of `init`. */
  init: (hello: Hello) => JsonObject;
  /** Further parameters of `serve`. */
  serve?: (hello: Hello) => Promise<JsonObject>;
}

interface WorkerFacts extends ModelFacts {
  renders_tools: boolean;
  /** The chat template's format of calls, if hone knows it. */
  tool_format: ToolFormat | null;
  context_tokens: number;
}

/** Starts the worker, has it open and serve the model, and gives it the role of a trainer. */
export async function openLocal(
  args: OpenOnlineArgs,
  around: Surroundings<LocalSettings>,
  local: LocalWorker,
): Promise<OnlineTrainer> {
  const { config, log, signal } = around;
  const { python } = await ensureWorkerEnv({
    backend: local.environment,
    on_progress: args.on_progress,
    signal,
    python: config.python,
  });
  const worker = new Worker({
    python,
    signal,
    command: local.command?.(python),
    log: (line) => log.debug(line),
    on_event: (event) => {
      if (event.event === "warning") log.warn(String(event.message));
      if (event.event === "progress") args.on_progress(String(event.message));
    },
  });
  try {
    const { model, base } = await start(worker, args, around, local);
    return new LocalTrainer(worker, model, base, args);
  } catch (error) {
    await worker[Symbol.asyncDispose]();
    throw error;
  }
}

async function start(
  worker: Worker,
  args: OpenOnlineArgs,
  { config, log, base_dir }: Surroundings<LocalSettings>,
  local: LocalWorker,
) {
  const hello = await worker.request<Hello>("hello", {}, local.start_secs);
  if (hello.blas === null && Deno.build.os === "linux") log.warn("OpenBLAS not found: MLX will be slow on this CPU");
  const near = isAbsolute(args.model) ? args.model : resolve(base_dir, args.model);
  const { model } = await worker.request<{ model: WorkerFacts }>("init", {
    model: existsSync(near) ? near : args.model,
    cache_dir: cacheDir(),
    seed: args.seed,
    lora: config.lora,
    optimizer: config.optimizer,
    fresh_optimizer: args.fresh_optimizer,
    ...local.init(hello),
    ...(config.context_tokens > 0 && { context_tokens: config.context_tokens }),
    ...(args.resume && { resume_dir: args.resume.checkpoint.dir }),
  });
  const api_key = crypto.randomUUID();
  const served = await worker.request<{ base_url: string }>("serve", {
    host: "127.0.0.1",
    port: 0,
    token: api_key,
    max_concurrency: args.concurrency,
    max_staleness: args.max_staleness,
    ...await local.serve?.(hello),
  });
  const base: Policy = {
    name: "base",
    version: 0,
    base_url: served.base_url,
    model: modelName(0),
    api_key,
    tokens: "exact",
    rollout_handles: true,
    tool_format: chosenFormat(config.tool_format, args.agent.tool_format, model),
    context_tokens: model.context_tokens,
    sampling: { temperature: args.agent.temperature, top_p: 1, max_tokens: args.agent.max_tokens },
  };
  return { model, base };
}

function chosenFormat(own: ToolFormat | "auto", agent: ToolFormat | "auto", model: WorkerFacts): ToolFormat {
  const wanted = agent === "auto" ? own : agent;
  if (wanted !== "auto") return wanted;
  return model.renders_tools ? model.tool_format ?? "hermes" : "json";
}

function modelName(version: number): string {
  return `policy-${String(version).padStart(6, "0")}`;
}

class LocalTrainer implements OnlineTrainer {
  readonly lost: Promise<Error>;

  constructor(
    readonly worker: Worker,
    readonly model: ModelFacts,
    readonly base: Policy,
    readonly args: OpenOnlineArgs,
  ) {
    this.lost = worker.lost;
  }

  async demonstrate(demonstrations: Parameters<OnlineTrainer["demonstrate"]>[0]) {
    const conversations = demonstrations.map(({ id, messages, tools }) => ({
      id,
      messages,
      ...(tools && { tools: tools.map(asFunction) }),
    }));
    const result = await this.worker.request<{ conversations: Awaited<ReturnType<OnlineTrainer["demonstrate"]>> }>(
      "demonstrate",
      { conversations },
    );
    return result.conversations;
  }

  supervise(args: StepArgs) {
    return this.#step("supervise", "supervised", args);
  }

  step(args: StepArgs) {
    return this.#step("train_step", "rl", args);
  }

  async publish({ name, version, checkpoint }: Parameters<OnlineTrainer["publish"]>[0]): Promise<Policy> {
    const from = checkpoint ? { dir: checkpoint.dir } : {};
    const { model } = await this.worker.request<{ model: string }>("publish", { version, ...from });
    return { ...this.base, name, version, model };
  }

  async save(dir: string): Promise<void> {
    await this.worker.request("save", { dir });
  }

  async weights({ format, dir, checkpoint }: Parameters<OnlineTrainer["weights"]>[0]): Promise<JsonObject> {
    return await this.worker.request("export", { dir, format, ...(checkpoint && { source: checkpoint.dir }) });
  }

  async [Symbol.asyncDispose]() {
    // Loggers send what they hold, and servers end.
    await this.worker.request("shutdown", {}, SHUTDOWN_SECS).catch(() => undefined);
    await this.worker[Symbol.asyncDispose]();
  }

  async *#step(method: string, kind: StepReport["kind"], args: StepArgs): AsyncGenerator<TrainerMetric, StepReport> {
    const { loss, seconds, step: _step, ...rest } = await this.worker.request<Record<string, number>>(method, {
      ...args,
    });
    const metrics = Object.fromEntries(Object.entries(rest).filter(([, value]) => Number.isFinite(value)));
    for (const [name, value] of Object.entries(metrics)) yield { name, value };
    return { step: args.step, kind, loss: loss ?? 0, metrics, seconds: seconds ?? 0 };
  }
}

function asFunction(
  { model_name, description, input_schema }: { model_name: string; description: string; input_schema: JsonObject },
) {
  return { type: "function", function: { name: model_name, description, parameters: input_schema } };
}
