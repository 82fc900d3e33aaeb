/**
 * The state of a run in progress, shared by its bindings. Created by `open_run.ts`; `catalog`, `scenarios`, `trainer`
 * and `policies` are filled in during the run. Stages communicate over the bus; data too large for an event (the
 * trajectories of a group that is not rewarded yet) is kept here under the id in the event.
 * @module
 */
import type { Bus } from "../bus.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import type { Catalog, GroupRequest, Judgement, RewardValue, Scenario, Trajectory } from "../events.ts";
import type { Environments } from "../mcp/pool/pool.ts";
import type {
  Agent,
  Checkpoint,
  HostedTrainer,
  Llm,
  Log,
  OnlineTrainer,
  Policy,
  Roles,
  ScenarioPart,
} from "../plugin.ts";
import type { Completed } from "../store/recorded.ts";
import { checkpointDir } from "../store/run_folder.ts";
import type { Store } from "../store/store.ts";
import type { Tape } from "../tape/mod.ts";
import type { Verdict } from "../verdict/mod.ts";
import type { ScenarioDraw } from "./online/scenario_draw.ts";
import type { Progress } from "./progress/progress.ts";

/** A role with the id of its stage. */
export interface Staged<R> {
  id: string;
  use: string;
  role: R;
  /** Of a judge or a reward shaper: see `made_by.ts`. */
  definition?: string;
}

/** A judge, with its part of a scenario and its time limit. */
export interface StagedJudge extends Staged<Roles["judge"]> {
  part: Pick<ScenarioPart, "judge" | "field"> | null;
  timeout_secs: number;
}

/** The roles of a run by kind. */
export interface RunRoles {
  discoverer?: Staged<Roles["discoverer"]>;
  sources: Staged<Roles["scenario-source"]>[];
  rollout: Staged<Roles["rollout"]>;
  judges: StagedJudge[];
  shaper: Staged<Roles["reward-shaper"]>;
  trainer?: Staged<Roles["trainer"]>;
  exporters: Staged<Roles["exporter"]>[];
  trackers: Staged<Roles["tracker"]>[];
}

/** A rollout with its judgements and its reward. */
export interface Judged {
  trajectory: Trajectory;
  reward: RewardValue;
  success: boolean;
}

/** A group, from its last rollout until its rewards are used. */
export interface Group {
  request: GroupRequest;
  scenario: Scenario;
  trajectories: Trajectory[];
  /** By rollout, then by judge (stage id). */
  judgements: Map<string, Record<string, Judgement>>;
  /** Number of judgements that are still to come. */
  awaited: number;
  /** True where a judge was asked, and its judgements were not all on record: recorded rewards no longer hold. */
  judged_anew?: boolean;
  /** Set when it is rewarded. */
  judged?: Judged[];
}

/** What the agent settings of a policy are, where they differ from the pipeline's. */
export type Prompt = Partial<Pick<Agent, "system_prompt" | "examples" | "max_tokens">>;

/** One policy to evaluate, instead of running the ladder. */
export interface Measured {
  /** Its name in the records: one of the pipeline's, or of a checkpoint. */
  policy: string;
  /**
   * Folder of an adapter or checkpoint that the trainer can load, absolute or relative to the run's folder; the id of a
   * hosted trainer's checkpoint. Default: the base model.
   */
  weights?: string;
  /** Of `prompt`: the prompt that another run found. */
  prompt?: Prompt;
}

/** See the module. */
export interface Run {
  config: PipelineConfig;
  run_dir: string;
  /** Absolute folder of the pipeline file. */
  base_dir: string;
  roles: RunRoles;
  /** Parts of scenarios that judges read. */
  parts: ScenarioPart[];
  bus: Bus;
  store: Store;
  /** The pool of servers, or the tape that replaces it. */
  environments: Environments;
  tape: Tape | null;
  llm: (stage: string, signal: AbortSignal, cause?: number) => Llm;
  agent: Agent;
  catalog: Catalog;
  scenarios: Scenario[];
  online: OnlineTrainer | null;
  hosted: HostedTrainer | null;
  /** The base policy, once it has been asked for: see `basePolicy`. */
  opening?: Promise<Policy>;
  /** By name: the policies that are served now. */
  policies: Map<string, Policy>;
  /** By policy; one that is not here has the pipeline's, without the examples. */
  prompts: Map<string, Prompt>;
  groups: Map<string, Group>;
  signal: AbortSignal;
  progress: Progress;
  log: Log;
  /** Records of earlier starts of the run. */
  recorded: Completed;
  /** True if the run folder has records of an earlier start. */
  resumed: boolean;
  accept_changes: boolean;
  trained_with?: Catalog;
  /** The policies to evaluate, in a run that only evaluates. */
  measured?: Measured[];
  /** Selects the scenarios of RL steps; null before that rung. */
  draw: ScenarioDraw | null;
  /** Longest step of RL so far, in seconds. */
  longest_step_secs: number;
  /** Steps of the supervised rung, once known. */
  supervised_steps: number;
  /** The policy to export: that of the last rung so far. `checkpoint` is empty for the base policy. */
  to_export: { policy: string; checkpoint: string };
  /** Ends the run. */
  stop: (reason: Error) => void;
  /** Checkpoints (ids) that must be kept: the warm start's, and those among which validation chooses. */
  pinned: { warm_start?: string; validated?: string[] };
  /** Longest total time of one policy's evaluations for the verdict so far, in seconds. */
  measuring_secs: number;
  /** Resources used so far, including earlier starts; checked against `limits`. */
  spent: { rollouts: number; tokens: number; seconds: number };
  /** Time (ms since the epoch) at which `limits.wall_clock_secs` is reached, including earlier starts; or Infinity. */
  deadline: number;
  verdict?: Verdict;
  /** The first error thrown by a handler. */
  failure?: unknown;
}

/** The agent settings of a policy. */
export function agentOf({ agent, prompts }: Pick<Run, "agent" | "prompts">, policy: string): Agent {
  return { ...agent, examples: [], ...prompts.get(policy) };
}

/** A checkpoint by its id. */
export function checkpointOf({ run_dir, hosted }: Pick<Run, "run_dir" | "hosted">, id: string): Checkpoint {
  return hosted ? { id } : { id, dir: checkpointDir(run_dir, id) };
}
