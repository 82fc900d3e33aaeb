/**
 * What trainers do, online (a step at a time) and hosted (a job). Part of the contract in `plugin.ts`, from where it is
 * imported.
 * @module
 */
import type { ChatMessage, Json, JsonObject, StepReport, ToolSpec } from "../events.ts";
import type { Agent, Policy } from "./role_types.ts";

/** A trainable demonstration: a conversation whose assistant messages are to be learned. */
export interface Demonstration {
  id: string;
  scenario_id: string;
  messages: ChatMessage[];
  /** Present for formats that hand tools to the template. */
  tools?: ToolSpec[];
}

/** Ids of one turn of a demonstration. */
export interface DemonstrationTurn {
  prompt_ids: number[];
  output_ids: number[];
}

/** Metrics that a trainer yields while it works. */
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

/** A saved state of a trainer; only a local one has a folder. */
export interface Checkpoint {
  id: string;
  /** Absolute folder: PEFT adapter, optimiser and random state. */
  dir?: string;
}

/** What a trainer knows of its model; all but the id may be left out. */
export interface ModelFacts {
  /** As the pipeline names it. */
  id: string;
  /** Absolute folder of its files. */
  path?: string;
  architecture?: string;
  parameters?: number;
  vocab_size?: number;
  context_tokens?: number;
  /** Ids that end an answer. */
  eos_token_ids?: number[];
  /** Hash of its chat template. */
  template_sha256?: string;
  [fact: string]: Json | undefined;
}

/** How an exporter may be given weights: `peft` is an adapter in PEFT layout. */
export type WeightsFormat = "peft";

/** What an online trainer offers while it is open. Dispose it to end its worker. */
export interface OnlineTrainer extends AsyncDisposable {
  /** The base policy, version 0, with adapters off. */
  base: Policy;
  /** Resolves when the trainer is lost (its worker died); never rejects. */
  lost?: Promise<Error>;
  model: ModelFacts;
  /** Ids that the endpoint would have produced for these conversations. */
  demonstrate(demonstrations: Demonstration[]): Promise<{ id: string; turns: DemonstrationTurn[] }[]>;
  supervise(args: StepArgs): AsyncGenerator<TrainerMetric, StepReport>;
  step(args: StepArgs): AsyncGenerator<TrainerMetric, StepReport>;
  /**
   * Makes the current weights (or those of the checkpoint) the policy of this version and name. With `max_staleness` above
   * 0, rollouts that are in flight go on, with the new weights.
   */
  publish(args: { name: string; version: number; checkpoint?: Checkpoint }): Promise<Policy>;
  /** Adapter, optimiser and random state are on disk, in this folder, when this resolves. */
  save(dir: string): Promise<void>;
  /** Writes weights (of the checkpoint, or the current ones) into a folder, with proof that they are what they say. */
  weights(args: { format: WeightsFormat; dir: string; checkpoint?: Checkpoint }): Promise<JsonObject>;
}

/** What every trainer is opened with. */
export interface OpenArgs {
  model: string;
  agent: Agent;
  seed: number;
  /** Absolute folder of the run. */
  run_dir: string;
  on_progress: (message: string) => void;
}

/** What an online trainer is opened with. */
export interface OpenOnlineArgs extends OpenArgs {
  /** Rollouts that will be in flight at once. */
  concurrency: number;
  /** Policy versions that may lie between the weights that sample a rollout and those that it trains. */
  max_staleness: number;
  /** What to continue from, and the optimiser step that it stands at. */
  resume?: { checkpoint: Checkpoint; step: number };
}

/** A training job of a hosted service. */
export interface Job {
  id: string;
}

/** What a hosted job is made of. */
export interface SubmitArgs {
  /** Absolute path of a `dataset.v1` file: JSON lines of scenario_id, messages, tools, tags and what judges expect. */
  train: string;
  /** The same, of the validation split; null where there is none. */
  validation: string | null;
  /** `{ judges: { <stage>: grader }, reward?: grader }`: what the judges' and the shaper's `toGrader` gave. */
  grader: JsonObject;
  /** The run's id: a service that lets jobs be found by it need not train twice where a record of the job was lost. */
  run_id: string;
  signal: AbortSignal;
}

/** One step that a hosted job has reported. */
export interface HostedStep extends StepReport {
  /** The state that the service kept of it, if any. */
  checkpoint?: Checkpoint;
}

/** What a hosted trainer offers while it is open. */
export interface HostedTrainer extends Partial<AsyncDisposable> {
  /** The model as it is before training. */
  base: Policy;
  model: ModelFacts;
  submit(args: SubmitArgs): Promise<Job>;
  /** Follows a job to its end: yields its steps (those reported before too) and returns the checkpoint to use. */
  watch(job: Job, signal: AbortSignal): AsyncGenerator<HostedStep, Checkpoint>;
  /** Stops the job so that it can go on, whenever the run ends before it; a job that has ended is left as it is. */
  pause(job: Job): Promise<void>;
  /** Lets a paused job go on; a job that runs is left as it is. */
  resume(job: Job): Promise<void>;
  /** What the service has kept of the job, oldest first. */
  checkpoints(job: Job): Promise<Checkpoint[]>;
  /** How a checkpoint is reached as a policy. */
  policy(args: { name: string; version: number; checkpoint: Checkpoint }): Promise<Policy>;
}
