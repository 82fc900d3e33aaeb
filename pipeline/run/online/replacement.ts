/**
 * Which scenarios replace those whose groups have no learning signal because all their rewards are equal: new work, as
 * far as `train.replace_equal_groups` and the limits of the run allow. Depends only on the groups and on records.
 * @module
 */
import { counted } from "../../diagnostics/mod.ts";
import type { Group, Run } from "../context.ts";
import { drawWeights } from "./difficulty.ts";
import { limitReached } from "./limits.ts";
import { noSignal } from "./step_batch.ts";

/** Scenarios (ids) to add to a step whose groups, in the order of their requests, are all rewarded; often none. */
export async function replacements(run: Run, step: number, groups: Group[]): Promise<string[]> {
  const { train } = run.config;
  const drawn = train.groups_per_step;
  const replaced = groups.length - drawn;
  const equal = groups.filter(({ judged }) => noSignal(judged!, train) === "zero_variance");
  // Those of earlier rounds are replaced already: each round adds one group for each of the last round.
  const missing = equal.slice(replaced).map(({ scenario }) => scenario);
  const count = Math.min(missing.length, train.replace_equal_groups - replaced);
  if (count <= 0 || !run.draw) return [];
  const why = limitReached(run);
  if (why) {
    run.log.info(`step ${step}: ${counted(count, "group")} with equal rewards not replaced: ${why}`);
    return [];
  }
  const weights = await drawWeights(run, step);
  const used = groups.map(({ request }) => request.scenario_id);
  const chosen = run.draw.replace(step - 1, missing, used, { count, weights });
  const of = counted(missing.length, "group");
  if (chosen.length > 0) {
    run.log.info(`step ${step}: ${chosen.length} of ${of} with equal rewards replaced by other scenarios`);
  }
  return chosen.map(({ id }) => id);
}
