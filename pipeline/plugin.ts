/**
 * The roles that plugins play, and `definePlugin`. A plugin sees its role's arguments and nothing else:
 * never the bus, the store or another plugin. What a role returns or yields is published by the runner.
 * @module
 */
import type { z } from "zod";
import type {
  Catalog,
  Envelope,
  Json,
  JsonObject,
  Judgement,
  Outcome,
  RewardValue,
  Scenario,
  ToolCallRecord,
  ToolSpec,
  Trajectory,
  TurnRecord,
} from "./events.ts";
import type { Agent, CallResult, Context, Environment, Llm, Policy } from "./kinds/role_types.ts";
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
export type * from "./kinds/trainer_types.ts";

/** The kinds of plugin; `kinds.ts` says what else is to be known of each. */
export type Kind = keyof Roles;

/** What a rollout yields while it runs. */
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

/** What an exporter receives. */
export interface ExportArgs {
  /** Absolute folder of its own to write to; does not exist yet. */
  dir: string;
  policy: Policy;
  agent: Agent;
  catalog: Catalog;
  verdict: Verdict;
  model: ModelFacts;
  /** Writes the policy's weights into a folder, in a format, and returns their proof. Throws where the trainer has none. */
  weights(args: { format: WeightsFormat; dir: string }): Promise<JsonObject>;
  signal: AbortSignal;
}

/** What a judge receives: a group's finished rollouts, all at once. */
export interface JudgeArgs<E = unknown> {
  group: Trajectory[];
  scenario: Scenario;
  /** The judge's own part of the scenario, as its schema parsed it; undefined where the scenario has none. */
  expected: E | undefined;
  /** Aborted when the judge's time is up or the run ends. */
  signal: AbortSignal;
  llm: Llm;
}

/** A judge at work. */
export interface JudgeRole<E = unknown> {
  /** `absolute` scores mean the same in every group; `relative` ones never leave their group, and are asked in training only. */
  scale: "absolute" | "relative";
  /** True where a score of 1 is what "success" means. A run needs one decisive judge; a relative one cannot be it. */
  decisive: boolean;
  /** Runs before the environment is released; its JSON is stored. */
  observe?(environment: Environment, scenario: Scenario, expected: E | undefined): Promise<Json>;
  /** One judgement per trajectory, in order. Pure over stored records and what `llm` answers. */
  judge(args: JudgeArgs<E>): Promise<Judgement[]> | Judgement[];
  toGrader?(): JsonObject;
}

/** The role that each kind plays. */
export interface Roles {
  discoverer: { discover(servers: ServerSpec[], connect: Connect): Promise<Catalog> };
  "scenario-source": {
    /** `parts` are what judges want to be told of a scenario. */
    produce(catalog: Catalog, parts: ScenarioPart[]): AsyncIterable<Scenario> | Iterable<Scenario>;
  };
  rollout: {
    run(args: RolloutArgs): AsyncGenerator<RolloutRecord, Outcome>;
    /** The conversation that a reference solution would have been, for the supervised warm start. */
    demonstrate?(args: {
      scenario: Scenario;
      agent: Agent;
      policy: Policy;
      tools: ToolSpec[];
      results: CallResult[];
    }): Demonstration;
  };
  // deno-lint-ignore no-explicit-any -- what a judge expects is known to itself alone
  judge: JudgeRole<any>;
  "reward-shaper": {
    /** `judgements` are keyed by judge (stage id). One that abstains is to count for nothing. */
    shape(trajectory: Trajectory, judgements: Record<string, Judgement>): RewardValue | Promise<RewardValue>;
    toGrader?(): JsonObject;
  };
  trainer:
    | { mode: "online"; open(args: OpenOnlineArgs): Promise<OnlineTrainer> }
    | { mode: "hosted"; open(args: OpenArgs): Promise<HostedTrainer> };
  exporter: { export(args: ExportArgs): Promise<{ dir: string; proof: JsonObject }> };
  tracker: {
    /** Any event, after it was recorded; off the run's path. One that is too slow loses events. */
    on(event: Envelope): void | Promise<void>;
  };
}

/** A server of the pipeline, as declared. */
export interface ServerSpec {
  name: string;
  [key: string]: unknown;
}

/** A session that discovery may use; closed by the runner. */
export type Connect = (server: ServerSpec) => Promise<Catalog>;

/** A call that a part of a scenario names, and where in the part. */
export interface NamedCall {
  /** `observed`: the judge will make it; `expected`, `forbidden`: what the agent should and should not call. */
  as: "observed" | "expected" | "forbidden";
  call: { server?: string; tool: string; arguments?: JsonObject };
  /** Path of the tool's name below the part. */
  path: (string | number)[];
}

/** What a judge expects of a scenario: the part that is its own, under `expect.<name of the judge>`. */
export interface Expectation<E = unknown> {
  /** Schema of the part; every field described. */
  schema: z.ZodType<E>;
  /** Where the part is written at the top of a scenario instead, as `checks` is. */
  field?: string;
  /** The calls that it names. */
  calls?(expected: E): NamedCall[];
}

/** A part that scenarios may have, and who reads it. */
export interface ScenarioPart extends Expectation {
  /** Name of the judge's plugin. */
  judge: string;
  /** Where it is written: `checks`, or `expect.<judge>`. */
  place: string;
  /** True where a judge of this pipeline decides by it. */
  decides: boolean;
}

/** What a scenario source is told when it previews. */
export interface PreviewArgs {
  /** Absolute folder of the pipeline file. */
  base_dir: string;
  parts: ScenarioPart[];
  /** True where every scenario must have a part that decides; false where a judge decides by anything else. */
  must_have_part: boolean;
}

/** A plugin: a plain object; `create` does no I/O at import and may return `Symbol.asyncDispose`. */
export interface Plugin<K extends Kind = Kind> {
  kind: K;
  name: string;
  summary: string;
  /** Schema of `with:`; every field described, with a default or an example. */
  // deno-lint-ignore no-explicit-any -- the schema's own output type reaches `create` through definePlugin
  config: z.ZodType<any>;
  examples: { title: string; with: JsonObject }[];
  /** Of a judge: its part of a scenario. Left out where it judges by anything else. */
  // deno-lint-ignore no-explicit-any -- see config
  expects?: Expectation<any>;
  /**
   * Of a scenario source: its scenarios as they can be read without servers, for `hone validate` and before a run starts.
   * Throws a HoneError with all problems, scenarios without what judges need among them.
   */
  // deno-lint-ignore no-explicit-any -- see config
  preview?(config: any, args: PreviewArgs): Promise<Scenario[]>;
  // deno-lint-ignore no-explicit-any -- see config
  create(context: Context<any>): (Roles[K] & Partial<AsyncDisposable>) | Promise<Roles[K] & Partial<AsyncDisposable>>;
}

/** The role that a plugin's `create` returns: of a judge, with what it expects typed by its own schema. */
type RoleOf<K extends Kind, E> = (K extends "judge" ? JudgeRole<E> : Roles[K]) & Partial<AsyncDisposable>;

/**
 * Types a plugin: infers `config` (and what a judge expects) from the schemas and checks the role by `kind`.
 * @example
 * ```ts
 * const plugin: Plugin<"judge"> = definePlugin({ kind: "judge", name: "always", summary: "…", config: z.strictObject({}),
 *   examples: [{ title: "As it is", with: {} }],
 *   create: () => ({ scale: "absolute", decisive: true,
 *     judge: ({ group }) => group.map(() => ({ score: 1, reason: "always" })) }) });
 * export default plugin;
 * ```
 */
export function definePlugin<K extends Kind, S extends z.ZodType, E = unknown>(
  plugin: Omit<Plugin<K>, "config" | "create" | "expects" | "preview"> & {
    config: S;
    expects?: Expectation<E>;
    preview?(config: z.output<S>, args: PreviewArgs): Promise<Scenario[]>;
    create(context: Context<z.output<S>>): RoleOf<K, E> | Promise<RoleOf<K, E>>;
  },
): Plugin<K> {
  return plugin as unknown as Plugin<K>;
}
