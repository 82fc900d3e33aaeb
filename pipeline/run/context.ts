/**
 * A run while it is under way: what its bindings share. Made once by `open_run.ts`; filled in as the run learns it
 * (`catalog`, `scenarios`, `trainer`, `policies`). What a stage has to tell another goes over the bus; what is too large
 * for an event (the trajectories of a group that is not rewarded yet) waits here under the id that the event names.
 * @module
 */
import { isAbsolute, join } from "node:path";
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
import type { Store } from "../store/store.ts";
import type { Tape } from "../tape/mod.ts";
import type { Verdict } from "../verdict/mod.ts";
import type { Progress } from "./progress/progress.ts";

/** A role with the id of the stage that plays it. */
export interface Staged<R> {
  id: string;
  use: string;
  role: R;
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

/** A rollout with what the judges and the shaper made of it. */
export interface Judged {
  trajectory: Trajectory;
  reward: RewardValue;
  success: boolean;
}

/** A group from its last rollout to whoever uses its rewards. */
export interface Group {
  request: GroupRequest;
  scenario: Scenario;
  trajectories: Trajectory[];
  /** By rollout, then by judge (stage id). */
  judgements: Map<string, Record<string, Judgement>>;
  /** Set when it is rewarded. */
  judged?: Judged[];
}

/** One policy to measure, instead of the ladder. */
export interface Measured {
  policy: "base" | "prompt" | "warm_start" | "tuned";
  /** Absolute folder of an adapter or checkpoint that the trainer can load; the base model when left out. */
  weights?: string;
}

/** See the module. */
export interface Run {
  config: PipelineConfig;
  run_dir: string;
  roles: RunRoles;
  /** What judges want to be told of a scenario. */
  parts: ScenarioPart[];
  bus: Bus;
  store: Store;
  /** The pool, or the tape in its place. */
  environments: Environments;
  tape: Tape | null;
  llm: (stage: string, signal: AbortSignal, cause?: number) => Llm;
  agent: Agent;
  catalog: Catalog;
  scenarios: Scenario[];
  online: OnlineTrainer | null;
  hosted: HostedTrainer | null;
  /** By name: those that can be asked now. */
  policies: Map<string, Policy>;
  groups: Map<string, Group>;
  signal: AbortSignal;
  progress: Progress;
  log: Log;
  /** What earlier starts of the run have on record. */
  recorded: Completed;
  /** True where the run folder held records of an earlier start. */
  resumed: boolean;
  accept_changes: boolean;
  trained_with?: Catalog;
  measured?: Measured;
  /** Steps of the supervised rung, once they are known. */
  supervised_steps: number;
  /** The policy that is exported: of the last rung so far. `checkpoint` is empty for the base policy. */
  to_export: { policy: string; checkpoint: string };
  /** Ends the run. */
  stop: (reason: Error) => void;
  /** Checkpoints (ids) that must stay: the warm start's, and the one that validation likes best. */
  pinned: { warm_start?: string; best?: string };
  /** Longest time that measuring one policy on the verdict's split has taken, in seconds. */
  measuring_secs: number;
  /** What the run has used so far, earlier starts included; checked against `limits`. */
  spent: { rollouts: number; tokens: number; seconds: number };
  /** Milliseconds since the epoch at which `limits.wall_clock_secs` ends, earlier starts counted; or Infinity. */
  deadline: number;
  verdict?: Verdict;
  /** What a handler threw, the first. */
  failure?: unknown;
}

/** The agent of a policy: only `prompt` is shown the examples. */
export function agentOf({ agent }: Pick<Run, "agent">, policy: string): Agent {
  return policy === "prompt" ? agent : { ...agent, examples: [] };
}

/** A checkpoint by its id; files of earlier versions name its folder. */
export function checkpointOf({ run_dir, hosted }: Pick<Run, "run_dir" | "hosted">, id: string): Checkpoint {
  if (hosted) return { id };
  return { id, dir: isAbsolute(id) ? id : join(run_dir, "checkpoints", id) };
}
