/**
 * Types of trainers, online (step by step) and hosted (a job). Part of the plugin API; exported by `plugin.ts`.
 * @module
 */
import type { ChatMessage, Json, JsonObject, StepReport, ToolSpec } from "../events.ts";
import type { Agent, Policy } from "./role_types.ts";

/** A trainable demonstration: a conversation whose assistant messages are trained on. */
export interface Demonstration {
  id: string;
  scenario_id: string;
  messages: ChatMessage[];
  /** Present for formats that pass tools to the chat template. */
  tools?: ToolSpec[];
}

/** Token ids of one turn of a demonstration. */
export interface DemonstrationTurn {
  prompt_ids: number[];
  output_ids: number[];
}

/** A metric that a trainer yields during a step. */
export interface TrainerMetric {
  name: string;
  value: number;
}

/** Settings of one optimiser step. */
export interface StepArgs {
  step: number;
  /** Absolute path of a `batch.v1` file. */
  batch: string;
  learning_rate?: number;
  /** Loss options for `step`; see `train.loss`. */
  loss?: JsonObject;
}

/** A saved state of a trainer; only local trainers have a folder. */
export interface Checkpoint {
  id: string;
  /** Absolute folder of the PEFT adapter, optimiser and random state. */
  dir?: string;
}

/** A trainer's facts about its model; only the id is required. */
export interface ModelFacts {
  /** The model, as in the pipeline file. */
  id: string;
  /** Its name on the Hugging Face hub; null if unknown. */
  hub_id?: string | null;
  /** Absolute folder of its files. */
  path?: string;
  architecture?: string;
  parameters?: number;
  vocab_size?: number;
  context_tokens?: number;
  /** Token ids that end a reply. */
  eos_token_ids?: number[];
  /** Hash of its chat template. */
  template_sha256?: string;
  [fact: string]: Json | undefined;
}

/** Formats of weights for exporters: `peft` is an adapter in PEFT layout. */
export type WeightsFormat = "peft";

/** An opened online trainer. Disposing it stops its worker. */
export interface OnlineTrainer extends AsyncDisposable {
  /** The base policy, version 0, without an adapter. */
  base: Policy;
  /** Resolves when the trainer's worker exits unexpectedly; never rejects. */
  lost?: Promise<Error>;
  model: ModelFacts;
  /** Token ids that the endpoint would have produced for these conversations. */
  demonstrate(demonstrations: Demonstration[]): Promise<{ id: string; turns: DemonstrationTurn[] }[]>;
  supervise(args: StepArgs): AsyncGenerator<TrainerMetric, StepReport>;
  step(args: StepArgs): AsyncGenerator<TrainerMetric, StepReport>;
  /**
   * Serves the current weights (or those of the checkpoint) as the policy of this version and name. With
   * `max_staleness` above 0, rollouts in flight continue with the new weights.
   */
  publish(args: { name: string; version: number; checkpoint?: Checkpoint }): Promise<Policy>;
  /** Saves adapter, optimiser and random state to this folder; resolves when they are on disk. */
  save(dir: string): Promise<void>;
  /** Writes weights (of the checkpoint, or the current ones) to a folder and returns checks that they are correct. */
  weights(args: { format: WeightsFormat; dir: string; checkpoint?: Checkpoint }): Promise<JsonObject>;
}

/** Arguments for opening any trainer. */
export interface OpenArgs {
  model: string;
  agent: Agent;
  seed: number;
  /** Absolute folder of the run. */
  run_dir: string;
  on_progress: (message: string) => void;
}

/** Arguments for opening an online trainer. */
export interface OpenOnlineArgs extends OpenArgs {
  /** Maximum number of concurrent rollouts. */
  concurrency: number;
  /** Maximum number of policy versions between the weights that sample a rollout and those that it trains. */
  max_staleness: number;
  /**
   * Whether the first call of `step` starts with a new optimizer instead of continuing with that of `supervise`. Later calls,
   * also those after a resume, continue with the optimizer of the previous one.
   */
  fresh_optimizer: boolean;
  /** The checkpoint to continue from, and its optimiser step. */
  resume?: { checkpoint: Checkpoint; step: number };
}

/** A training job of a hosted service. */
export interface Job {
  id: string;
}

/** Inputs of a hosted job. */
export interface SubmitArgs {
  /** Absolute path of a `dataset.v1` file: JSON lines of scenario_id, messages, tools, tags and the judges' parts. */
  train: string;
  /** The same for the validation split; null if there is none. */
  validation: string | null;
  /** `{ judges: { <stage>: grader }, reward?: grader }`: results of the judges' and the reward shaper's `toGrader`. */
  grader: JsonObject;
  /** The run's id: if a job's record is lost, a service that finds jobs by it need not train again. */
  run_id: string;
  signal: AbortSignal;
}

/** One step reported by a hosted job. */
export interface HostedStep extends StepReport {
  /** The checkpoint of the step, if the service saved one. */
  checkpoint?: Checkpoint;
}

/** An opened hosted trainer. */
export interface HostedTrainer extends Partial<AsyncDisposable> {
  /** The model before training. */
  base: Policy;
  model: ModelFacts;
  submit(args: SubmitArgs): Promise<Job>;
  /** Follows a job to its end: yields all its steps, including earlier ones, and returns the checkpoint to use. */
  watch(job: Job, signal: AbortSignal): AsyncGenerator<HostedStep, Checkpoint>;
  /** Pauses the job; called whenever the run ends before it. No effect on a finished job. */
  pause(job: Job): Promise<void>;
  /**
   * Resumes a paused job; no effect on one that runs or is done. Resolves to false where it cannot go on, because it failed
   * or is gone: another job is submitted then.
   */
  resume(job: Job): Promise<boolean>;
  /** Checkpoints of the job, oldest first. */
  checkpoints(job: Job): Promise<Checkpoint[]>;
  /** A policy served from a checkpoint. */
  policy(args: { name: string; version: number; checkpoint: Checkpoint }): Promise<Policy>;
}
