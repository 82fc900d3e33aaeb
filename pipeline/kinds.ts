/**
 * The table of the kinds of plugin: how many stages of a kind a pipeline may have and whether it needs one, the methods
 * of its role, how a program implements it (`exec:`), its template for `hone new`, its conformance checks. The events
 * of each kind are in `run/bindings.ts`.
 * @module
 */
import { discoverer } from "./kinds/discoverer_kind.ts";
import { exporter } from "./kinds/exporter_kind.ts";
import { judge } from "./kinds/judge_kind.ts";
import type { KindFacts } from "./kinds/kind.ts";
import { reward_shaper } from "./kinds/reward_shaper_kind.ts";
import { rollout } from "./kinds/rollout_kind.ts";
import { scenario_source } from "./kinds/scenario_source_kind.ts";
import { tracker } from "./kinds/tracker_kind.ts";
import { trainer } from "./kinds/trainer_kind.ts";
import type { Kind } from "./plugin.ts";

/** All kinds, in the order in which a pipeline uses them. */
export const KINDS: { [K in Kind]: KindFacts<K> } = {
  discoverer,
  "scenario-source": scenario_source,
  rollout,
  judge,
  "reward-shaper": reward_shaper,
  trainer,
  exporter,
  tracker,
};

/** Their names. */
export const KIND_NAMES = Object.keys(KINDS) as Kind[];

/** True for the name of a kind. */
export function isKind(name: unknown): name is Kind {
  return typeof name === "string" && Object.hasOwn(KINDS, name);
}
