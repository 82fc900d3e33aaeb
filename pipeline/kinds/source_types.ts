/**
 * What a scenario source may use besides the catalog: leased environments, judged trials, language models. Part of the
 * plugin API; exported by `plugin.ts`.
 * @module
 */
import type { CallSpec, Judgement, Scenario, Trajectory } from "../events.ts";
import type { Environment, Llm } from "./role_types.ts";

/**
 * What a trial plays: the scenario's reference solution; no call and an empty closing answer; other calls and another
 * answer; or a policy, by its name (`base` is opened if it has not been).
 */
export type Play = "solution" | "nothing" | { calls: CallSpec[]; answer: string } | { policy: string };

/** How a trial is played. */
export interface TrialOptions {
  play: Play;
  /** Of the sampling; tells repeated trials of one scenario apart. Default: 0. */
  seed?: number;
  /** Sampling temperature of a policy. Default: the agent's. */
  temperature?: number;
  /** Ends the trial, besides the run's own signal. */
  signal?: AbortSignal;
}

/** The result of a trial: one judged rollout outside of the training loop. */
export interface Trial {
  trajectory: Trajectory;
  /** By judge (stage id); empty if the rollout failed before it could be judged. */
  judgements: Record<string, Judgement>;
  success: boolean;
  /** Why it is unknown whether the trial succeeded: the rollout failed, or a decisive judge could not judge it. */
  invalid?: string;
  /** In words, what decided. */
  reason: string;
}

/** A leased environment; disposing of it releases it. */
export type LeasedEnvironment = Environment & AsyncDisposable;

/**
 * The third argument of `produce`. Leases and trials are real: isolation, and the rule which tools may be called, are
 * those of rollouts, and at most `train.concurrency` of them exist at a time.
 */
export interface SourceTools {
  /** The pipeline's `seed`. */
  seed: number;
  /** What this stage produced in an earlier start of the run, if that was complete; otherwise null. */
  recorded: Scenario[] | null;
  /**
   * Digest of what trials depend on besides the catalog: the declared servers, their fixtures, and the judges. With the
   * catalog's `schema_hash` it is the key of what a source caches.
   */
  world(): Promise<string>;
  /** A fresh environment, with the setup done. Throws if a server cannot be started or the setup fails. */
  lease(scenario?: Pick<Scenario, "setup" | "tools">): Promise<LeasedEnvironment>;
  /** Plays a scenario and has the run's judges judge it. Nothing of it is recorded in the run's tables. */
  trial(scenario: Scenario, options: TrialOptions): Promise<Trial>;
  /** Absolute folder, in hone's cache, for what the next run need not find out again; may not exist yet. */
  cache_dir: string;
  llm: Llm;
  /** Aborted when the run ends. */
  signal: AbortSignal;
  /** Shows a message about the work in progress. */
  progress(message: string): void;
  /** Writes a text file to `scenarios/<stage>/` in the run's folder; `name` is a plain file name. */
  save(name: string, text: string): Promise<void>;
}
