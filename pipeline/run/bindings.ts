/**
 * The flow of a run: which binding consumes and publishes which events. One row per binding, in the order of a run; the
 * code of each is in the file that its row imports. The training loop has two ends: the sampler requests groups, the
 * batcher combines them; `measure` does both for an evaluation. `hone graph` prints this table for a pipeline.
 *
 * Rows are enforced: a binding handles exactly the events that it consumes here, and may publish only those that it
 * produces here.
 * @module
 */
import type { Bus, Handler } from "../bus.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import type { EventName } from "../events.ts";
import type { Kind } from "../plugin.ts";
import type { Run } from "./context.ts";

/** Handlers by the event that they handle. */
export type Handlers = { [K in EventName]?: Handler<K> };

/** What a binding provides for each of its stages: its name on the bus, and its handlers. */
export interface Bound {
  stage: string;
  on: Handlers;
}

/** One row of the flow. */
export interface Binding {
  name: string;
  /** The kind of plugin that it binds; absent for hone's own bindings. */
  kind?: Kind;
  /** Omitted if the run has no stage of this kind. */
  needs?: Kind;
  consumes: readonly EventName[];
  produces: readonly EventName[];
  /** A tap: receives every event without slowing the run. */
  watches?: true;
  /** Events of each type that each of its stages handles concurrently. Default: 1. */
  concurrency?: (config: FlowSettings) => number;
  load: () => Promise<{ bind(run: Run): Bound[] }>;
}

/** The properties of a pipeline that determine the flow. */
export type FlowSettings = Pick<PipelineConfig, "train" | "evaluate">;

/** Maximum number of requested groups that are not trained on yet; the loop's queues have this capacity. */
export function credit({ train }: FlowSettings): number {
  return train.groups_per_step * (1 + train.max_staleness);
}

/** Maximum number of concurrent rollouts. */
export function mostRollouts({ train, evaluate }: FlowSettings): number {
  return Math.max(train.concurrency, evaluate.concurrency ?? 0);
}

/** What every run begins with: its tools and its scenarios. */
export const OPENING: Binding[] = [
  {
    name: "discoverer",
    kind: "discoverer",
    consumes: ["run.started"],
    produces: ["catalog.discovered", "catalog.changed"],
    load: () => import("./bindings/bind_discoverer.ts"),
  },
  {
    name: "scenario-source",
    kind: "scenario-source",
    consumes: ["catalog.discovered"],
    produces: ["scenario.produced", "scenarios.completed"],
    load: () => import("./bindings/bind_scenario_source.ts"),
  },
];

/** From a requested group to its rewards, for training and evaluation. */
const middle: Binding[] = [
  {
    name: "rollout",
    kind: "rollout",
    consumes: ["group.requested"],
    produces: [
      "rollout.requested",
      "turn.completed",
      "tool.called",
      "observation.made",
      "rollout.completed",
      "group.completed",
    ],
    // Twice the rollouts: while some groups wait for the disk, others play.
    concurrency: (settings) => 2 * mostRollouts(settings),
    load: () => import("./bindings/bind_rollout.ts"),
  },
  {
    name: "judge",
    kind: "judge",
    consumes: ["group.completed"],
    produces: ["judgement.made"],
    concurrency: mostRollouts,
    load: () => import("./bindings/bind_judge.ts"),
  },
  {
    name: "reward-shaper",
    kind: "reward-shaper",
    consumes: ["group.completed", "judgement.made"],
    produces: ["reward.shaped", "group.rewarded"],
    concurrency: mostRollouts,
    load: () => import("./bindings/bind_reward_shaper.ts"),
  },
];

const closing: Binding[] = [
  {
    name: "measure",
    consumes: ["evaluation.requested", "group.rewarded"],
    produces: ["group.requested", "evaluation.completed"],
    load: () => import("./bindings/bind_measure.ts"),
  },
  {
    name: "verdict",
    consumes: ["ladder.completed"],
    produces: ["verdict.made"],
    load: () => import("./bindings/bind_verdict.ts"),
  },
  {
    name: "exporter",
    kind: "exporter",
    needs: "exporter",
    consumes: ["verdict.made"],
    produces: ["export.completed"],
    load: () => import("./bindings/bind_exporter.ts"),
  },
  {
    name: "tracker",
    kind: "tracker",
    needs: "tracker",
    consumes: [],
    produces: ["metric.recorded"],
    watches: true,
    load: () => import("./bindings/bind_tracker.ts"),
  },
];

/** A run that trains step by step, or only evaluates. */
export const ONLINE: Binding[] = [
  ...OPENING,
  {
    name: "ladder",
    consumes: ["scenarios.completed", "evaluation.completed", "policy.published", "rung.completed"],
    produces: [
      "prompt.proposed",
      "evaluation.requested",
      "demonstrations.requested",
      "rung.started",
      "policy.requested",
      "ladder.completed",
    ],
    load: () => import("./bindings/bind_ladder.ts"),
  },
  {
    name: "sampler",
    needs: "trainer",
    consumes: [
      "demonstrations.requested",
      "rung.started",
      "policy.published",
      "evaluation.completed",
      "replacements.requested",
    ],
    produces: ["group.requested", "policy.requested", "evaluation.requested", "metric.recorded", "rung.completed"],
    load: () => import("./online/sampler.ts"),
  },
  ...middle,
  {
    name: "batcher",
    needs: "trainer",
    consumes: ["group.rewarded"],
    produces: ["batch.ready", "replacements.requested", "metric.recorded", "policy.requested"],
    load: () => import("./online/batcher.ts"),
  },
  {
    name: "trainer",
    kind: "trainer",
    needs: "trainer",
    consumes: ["batch.ready", "policy.requested"],
    produces: ["metric.recorded", "train.stepped", "policy.published"],
    load: () => import("./bindings/bind_trainer.ts"),
  },
  ...closing,
];

/** A run with a hosted trainer: exports a data set, follows a job. */
export const HOSTED: Binding[] = [
  ...OPENING,
  {
    name: "ladder",
    consumes: ["scenarios.completed", "evaluation.completed", "policy.published", "rung.completed"],
    produces: ["evaluation.requested", "rung.started", "policy.requested", "ladder.completed"],
    load: () => import("./bindings/bind_ladder.ts"),
  },
  {
    name: "dataset",
    consumes: ["rung.started"],
    produces: ["dataset.ready"],
    load: () => import("./hosted/dataset.ts"),
  },
  {
    name: "trainer",
    kind: "trainer",
    needs: "trainer",
    consumes: ["dataset.ready", "policy.requested"],
    produces: ["job.submitted", "train.stepped", "rung.completed", "policy.published"],
    load: () => import("./hosted/bind_job.ts"),
  },
  ...middle,
  ...closing,
];

/** Recorded rollouts are judged again. */
export const REJUDGING: Binding[] = [
  {
    name: "rejudging",
    consumes: ["run.started", "group.rewarded"],
    produces: ["group.completed", "evaluation.completed", "ladder.completed"],
    load: () => import("./bindings/bind_rejudging.ts"),
  },
  ...[...middle, ...closing].filter(({ name }) => ["judge", "reward-shaper", "verdict"].includes(name)),
];

/** The bindings of a pipeline with stages of these kinds. */
export function flowOf(has: (kind: Kind) => boolean, hosted: boolean): Binding[] {
  return (hosted ? HOSTED : ONLINE).filter(({ needs }) => !needs || has(needs));
}

/**
 * Kinds without which a consumed event of the flow has no publisher, or a published one has no consumer. In the order
 * of the flow.
 */
export function missingKinds(has: (kind: Kind) => boolean, hosted: boolean): Kind[] {
  const flow = flowOf(has, hosted);
  // A pipeline without servers has an empty catalog, which needs no plugin.
  const present = flow.filter(({ kind }) => !kind || kind === "discoverer" || has(kind));
  const missing: Binding[] = [];
  for (;;) {
    const bound = [...present, ...missing];
    const awaited = new Set(bound.flatMap(({ consumes }) => consumes));
    const published = new Set(bound.flatMap(({ produces }) => produces));
    const needed = flow.filter((binding) =>
      !bound.includes(binding) &&
      (binding.produces.some((type) => awaited.has(type) && !published.has(type)) ||
        binding.consumes.some((type) => published.has(type) && !awaited.has(type)))
    );
    if (needed.length === 0) return flow.filter((binding) => missing.includes(binding)).map(({ kind }) => kind!);
    missing.push(...needed);
  }
}

/** Subscribes every binding of a run, in the flow's order. */
export async function bindAll(run: Run, flow: Binding[]): Promise<void> {
  for (const binding of flow) {
    const { bind } = await binding.load();
    for (const bound of bind(run)) subscribe(run.bus, binding, bound, run.config);
  }
}

function subscribe(
  bus: Bus,
  { name, consumes, produces, concurrency }: Binding,
  { stage, on }: Bound,
  config: FlowSettings,
) {
  const handled = Object.keys(on) as EventName[];
  const odd = [...handled, ...consumes].find((type) => !handled.includes(type) || !consumes.includes(type));
  if (odd) throw new Error(`binding ${name}: its row in the flow and its handlers differ: ${odd}`);
  const allowed = <K extends EventName>(type: K): K => {
    if (produces.includes(type)) return type;
    throw new Error(`binding ${name} may not publish ${type}: not in its row of the flow`);
  };
  for (const type of handled) {
    const handle = on[type] as Handler<typeof type>;
    bus.subscribe(
      type,
      { stage, concurrency: concurrency?.(config), capacity: credit(config) },
      (event, out) =>
        handle(event, {
          cause: out.cause,
          publish: (type, data) => out.publish(allowed(type), data),
          deliver: (type, data, recorded) => out.deliver(allowed(type), data, recorded),
        }),
    );
  }
}
