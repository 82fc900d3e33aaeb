/**
 * The flow of a run: who consumes which event and publishes which. One row a binding, in the order in which a run meets
 * them; the code of each is the file that its row imports. The training loop closes in two places only: the sampler asks
 * for groups, the batcher joins them; measuring does both for an evaluation. `hone graph` prints this table for a pipeline.
 *
 * A row is binding: its file handles exactly what it consumes here, and may publish only what it produces here.
 * @module
 */
import type { Bus, Handler } from "../bus.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import type { EventName } from "../events.ts";
import type { Kind } from "../plugin.ts";
import type { Run } from "./context.ts";

/** Handlers by the event that they handle. */
export type Handlers = { [K in EventName]?: Handler<K> };

/** What a binding gives for each stage that it serves: its name on the bus, and its handlers. */
export interface Bound {
  stage: string;
  on: Handlers;
}

/** One row of the flow. */
export interface Binding {
  name: string;
  /** The kind of plugin that it binds; the others are hone's own. */
  kind?: Kind;
  /** Left out of a run without a stage of this kind. */
  needs?: Kind;
  consumes: readonly EventName[];
  produces: readonly EventName[];
  /** It looks on: every event, off the run's path. */
  watches?: true;
  /** Events that each of its stages handles at once, of each type; 1 when left out. */
  concurrency?: (config: FlowSettings) => number;
  load: () => Promise<{ bind(run: Run): Bound[] }>;
}

/** What of a pipeline the flow depends on. */
export type FlowSettings = Pick<PipelineConfig, "train" | "evaluate">;

/** Groups that the sampler has asked for and that are not trained on yet, at most; queues of the loop hold as many. */
export function credit({ train }: FlowSettings): number {
  return train.groups_per_step * (1 + train.max_staleness);
}

/** Rollouts in flight at once, at most. */
export function mostRollouts({ train, evaluate }: FlowSettings): number {
  return Math.max(train.concurrency, evaluate.concurrency ?? 0);
}

const opening: Binding[] = [
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

/** From a group that is wanted to its rewards, whatever it is wanted for. */
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
    concurrency: mostRollouts,
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
    produces: [],
    watches: true,
    load: () => import("./bindings/bind_tracker.ts"),
  },
];

/** A run that trains a step at a time, or only measures. */
export const ONLINE: Binding[] = [
  ...opening,
  {
    name: "ladder",
    consumes: ["scenarios.completed", "evaluation.completed", "policy.published", "rung.completed"],
    produces: [
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
    consumes: ["demonstrations.requested", "rung.started", "policy.published", "evaluation.completed"],
    produces: ["group.requested", "policy.requested", "evaluation.requested", "metric.recorded", "rung.completed"],
    load: () => import("./online/sampler.ts"),
  },
  ...middle,
  {
    name: "batcher",
    needs: "trainer",
    consumes: ["group.rewarded"],
    produces: ["batch.ready", "metric.recorded", "policy.requested"],
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

/** A run that has a service train: a data set out, a job in. */
export const HOSTED: Binding[] = [
  ...opening,
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

/** The bindings of a pipeline that has stages of these kinds. */
export function flowOf(has: (kind: Kind) => boolean, hosted: boolean): Binding[] {
  return (hosted ? HOSTED : ONLINE).filter(({ needs }) => !needs || has(needs));
}

/**
 * Kinds without which an event of the flow has nobody to publish it, though somebody waits for it, or nobody to take it,
 * though somebody publishes it. In the order of the flow.
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
  if (odd) throw new Error(`binding ${name}: the flow and its handlers disagree about ${odd}`);
  const allowed = <K extends EventName>(type: K): K => {
    if (produces.includes(type)) return type;
    throw new Error(`binding ${name} may not publish ${type}: the flow does not say so`);
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
