/**
 * The roles of plugins, and `definePlugin`. A plugin sees only the arguments of its role: never the bus, the store or
 * another plugin. The runner publishes what a role returns or yields. All that a judge is given is recorded
 * (trajectories, the scenario, the catalog's `tools`, people's `labels`) or asked of `llm`, so that stored rollouts can
 * be judged again without a rollout.
 * @module
 */
import type { z } from "zod";
import type {
  Catalog,
  Envelope,
  Json,
  JsonObject,
  Judgement,
  Label,
  Outcome,
  RewardValue,
  Scenario,
  ToolCallRecord,
  ToolSpec,
  Trajectory,
  TurnRecord,
} from "./events.ts";
import type { Agent, CallResult, Context, Environment, Llm, Policy } from "./kinds/role_types.ts";
import type { SourceTools } from "./kinds/source_types.ts";
import type { TrackedRun } from "./kinds/tracker_types.ts";
import type {
  Demonstration,
  HostedTrainer,
  ModelFacts,
  OnlineTrainer,
  OpenArgs,
  OpenOnlineArgs,
  WeightsFormat,
} from "./kinds/trainer_types.ts";
import type { Verdict } from "./verdict/verdict_types.ts";

export type * from "./kinds/role_types.ts";
export type * from "./kinds/source_types.ts";
export type * from "./kinds/tracker_types.ts";
export type * from "./kinds/trainer_types.ts";

/** The kinds of plugin; `kinds.ts` has the facts about each. */
export type Kind = keyof Roles;

/** Records that a rollout yields in progress. */
export type RolloutRecord = TurnRecord | ToolCallRecord;

/** Arguments of a rollout. */
export interface RolloutArgs {
  rollout_id: string;
  scenario: Scenario;
  policy: Policy;
  environment: Environment;
  agent: Agent;
  seed: number;
  signal: AbortSignal;
}

/** Arguments of an exporter. */
export interface ExportArgs {
  /** Absolute path of the exporter's own folder; does not exist yet. */
  dir: string;
  policy: Policy;
  agent: Agent;
  catalog: Catalog;
  verdict: Verdict;
  model: ModelFacts;
  /** Writes the policy's weights to a folder and returns the trainer's checks. Throws if the trainer has no weights. */
  weights(args: { format: WeightsFormat; dir: string }): Promise<JsonObject>;
  signal: AbortSignal;
}

/** Arguments of a judge: all finished rollouts of a group. */
export interface JudgeArgs<E = unknown> {
  group: Trajectory[];
  scenario: Scenario;
  /** The judge's part of the scenario, parsed with its schema; undefined if the scenario has none. */
  expected: E | undefined;
  /** Aborted when the judge's time limit is reached or the run ends. */
  signal: AbortSignal;
  llm: Llm;
  /** All tools of the run's catalog, as recorded: names on their servers, input and output schemas. */
  tools: readonly ToolSpec[];
  /** What people said of the group's rollouts (`hone label`), as recorded: of each person the last label. */
  labels(): Promise<Label[]>;
}

/** The role of a judge. */
export interface JudgeRole<E = unknown> {
  /**
   * `absolute` scores are comparable between groups; `relative` ones only within a group, and are used only in
   * training.
   */
  scale: "absolute" | "relative";
  /** A decisive judge determines success. A run needs at least one; a relative judge cannot be decisive. */
  decisive: boolean;
  /** For a decisive judge: the score from which a rollout counts as a success. Default: `evaluate.success_at`. */
  success_at?: number;
  /** Observes the environment before the agent acts; must not change it. Returns the last argument of `observe`. */
  observeBefore?(environment: Environment, scenario: Scenario, expected: E | undefined): Promise<Json>;
  /**
   * Observes the environment before it is released; the returned JSON is stored. `before` is undefined if
   * `observeBefore` is missing or failed.
   */
  observe?(environment: Environment, scenario: Scenario, expected: E | undefined, before?: Json): Promise<Json>;
  /** Returns one judgement per trajectory, in order. Depends only on its arguments and on replies of `llm`. */
  judge(args: JudgeArgs<E>): Promise<Judgement[]> | Judgement[];
  toGrader?(): JsonObject;
}

/** The role of each kind. */
export interface Roles {
  discoverer: { discover(servers: ServerSpec[], connect: Connect): Promise<Catalog> };
  "scenario-source": {
    /** `parts` are the parts of scenarios that judges read. */
    produce(
      catalog: Catalog,
      parts: ScenarioPart[],
      tools: SourceTools,
    ): AsyncIterable<Scenario> | Iterable<Scenario>;
  };
  rollout: {
    run(args: RolloutArgs): AsyncGenerator<RolloutRecord, Outcome>;
    /** The conversation of a reference solution, for the supervised warm start. */
    demonstrate?(args: {
      scenario: Scenario;
      agent: Agent;
      policy: Policy;
      tools: ToolSpec[];
      results: CallResult[];
    }): Demonstration;
  };
  // deno-lint-ignore no-explicit-any -- the type of a judge's part is known only to the judge
  judge: JudgeRole<any>;
  "reward-shaper": {
    /** `judgements` are keyed by judge (stage id). One that abstains must not affect the reward. */
    shape(trajectory: Trajectory, judgements: Record<string, Judgement>): RewardValue | Promise<RewardValue>;
    toGrader?(): JsonObject;
  };
  trainer:
    | { mode: "online"; open(args: OpenOnlineArgs): Promise<OnlineTrainer> }
    | { mode: "hosted"; open(args: OpenArgs): Promise<HostedTrainer> };
  exporter: {
    /** Weight formats that it asks for, so that a trainer without them is refused before the run. */
    needs?: WeightsFormat[];
    export(args: ExportArgs): Promise<{ dir: string; proof: JsonObject }>;
  };
  tracker: {
    /** Called once, before the first event. */
    begin?(run: TrackedRun): void | Promise<void>;
    /** Receives every event after it was recorded, asynchronously. A slow tracker misses events. */
    on(event: Envelope): void | Promise<void>;
  };
}

/** A server of the pipeline, as declared. */
export interface ServerSpec {
  name: string;
  [key: string]: unknown;
}

/** Connects to a server for discovery; the runner closes the session. */
export type Connect = (server: ServerSpec) => Promise<Catalog>;

/** A call in a part of a scenario, with its path in the part. */
export interface NamedCall {
  /** `observed`: a call that the judge makes; `expected`, `forbidden`: calls that the agent should or must not make. */
  as: "observed" | "expected" | "forbidden";
  call: { server?: string; tool: string; arguments?: JsonObject };
  /** Path of the tool's name below the part. */
  path: (string | number)[];
}

/** A judge's part of scenarios, under `expect.<name of the judge>`. */
export interface Expectation<E = unknown> {
  /** Schema of the part; every field described. */
  schema: z.ZodType<E>;
  /** Top-level field of the part instead, such as `checks`. */
  field?: string;
  /** True if the judge also judges scenarios without the part. */
  optional?: boolean;
  /** The calls in the part. */
  calls?(expected: E): NamedCall[];
  /** Paths, below the part, of what names something in the rollout's own folder; without a folder it cannot be judged. */
  paths?(expected: E): (string | number)[][];
}

/** A part that scenarios may have, and its judge. */
export interface ScenarioPart extends Expectation {
  /** Name of the judge's plugin. */
  judge: string;
  /** Its field: `checks`, or `expect.<judge>`. */
  place: string;
  /** True if a decisive judge of this pipeline reads it. */
  decides: boolean;
  /** True if no judge of this pipeline reads it. */
  unread?: boolean;
}

/** What a server of the pipeline permits, as far as its declaration says. */
export interface DeclaredServer {
  /** True if rollouts have a folder of their own, in which the server runs. */
  has_folder: boolean;
  /** False for a tool whose calls would always be denied. */
  may_call(tool: string): boolean;
}

/** Arguments of a scenario source's preview. */
export interface PreviewArgs {
  /** Absolute folder of the pipeline file. */
  base_dir: string;
  parts: ScenarioPart[];
  /** True if every scenario must have a part of a decisive judge; false if a decisive judge needs no part. */
  must_have_part: boolean;
  /** The pipeline's servers by name; absent if their declaration has problems. */
  servers?: Record<string, DeclaredServer>;
}

/** A judge or part that a reward shaper's settings name. */
export interface Weighed {
  name: string;
  /** Path in the settings. */
  path: (string | number)[];
  /** Whether the name is the key at this path (the default) or the value. */
  side?: "key" | "value";
}

/** A plugin: a plain object. Importing it does no I/O; the role may have `Symbol.asyncDispose`. */
export interface Plugin<K extends Kind = Kind> {
  kind: K;
  name: string;
  summary: string;
  /** Schema of `with:`; every field described, with a default or an example. */
  // deno-lint-ignore no-explicit-any -- the schema's own output type reaches `create` through definePlugin
  config: z.ZodType<any>;
  examples: { title: string; with: JsonObject }[];
  /** In words, a program that its role starts on this machine, for `hone validate`. */
  starts?: string;
  /** For a judge: its part of a scenario, if it needs one. */
  // deno-lint-ignore no-explicit-any -- see config
  expects?: Expectation<any>;
  /** For a judge: the names of its scores' parts, if they are always the same. */
  parts?: readonly string[];
  /** For a reward shaper: the judges (`state`) and parts (`calls.near`) that its settings name. */
  // deno-lint-ignore no-explicit-any -- see config
  weighs?(config: any): Weighed[];
  /**
   * For a scenario source: its scenarios, read without servers, for `hone validate` and before a run starts.
   * Throws a HoneError with all problems, including scenarios without a part that a decisive judge needs.
   */
  // deno-lint-ignore no-explicit-any -- see config
  preview?(config: any, args: PreviewArgs): Promise<Scenario[]>;
  // deno-lint-ignore no-explicit-any -- see config
  create(context: Context<any>): (Roles[K] & Partial<AsyncDisposable>) | Promise<Roles[K] & Partial<AsyncDisposable>>;
}

/** The role that a plugin's `create` returns; for a judge, `expected` has the type of its schema. */
type RoleOf<K extends Kind, E> = (K extends "judge" ? JudgeRole<E> : Roles[K]) & Partial<AsyncDisposable>;

/**
 * Types a plugin: infers the types of `config` (and of a judge's part) from the schemas and checks the role by `kind`.
 * @example
 * ```ts
 * const plugin: Plugin<"judge"> = definePlugin({ kind: "judge", name: "always", summary: "…", config: z.strictObject({}),
 * examples: [{ title: "Defaults", with: {} }],
 * create: () => ({ scale: "absolute", decisive: true,
 * judge: ({ group }) => group.map(() => ({ score: 1, reason: "always" })) }) });
 * export default plugin;
 * ```
 */
export function definePlugin<K extends Kind, S extends z.ZodType, E = unknown>(
  plugin: Omit<Plugin<K>, "config" | "create" | "expects" | "preview" | "weighs"> & {
    config: S;
    expects?: Expectation<E>;
    weighs?(config: z.output<S>): Weighed[];
    preview?(config: z.output<S>, args: PreviewArgs): Promise<Scenario[]>;
    create(context: Context<z.output<S>>): RoleOf<K, E> | Promise<RoleOf<K, E>>;
  },
): Plugin<K> {
  return plugin as unknown as Plugin<K>;
}
