/**
 * Which of the checkpoints that were evaluated on validation becomes the tuned policy. Pure. The verdict shows all of
 * them with their success (`verdict/checkpoint_selection.ts`).
 * @module
 */
import type { PipelineConfig } from "../../config/pipeline_schema.ts";
import type { Interval } from "../../events.ts";

/** A checkpoint and its success on validation, one interval for each sampling of `train.validate_sampling`. */
export interface ValidatedCheckpoint {
  checkpoint: string;
  success: readonly Interval[];
}

/**
 * The checkpoint of `train.choose`, or undefined if not one evaluation has a judged rollout. Checkpoints without one
 * under some sampling are passed over: nothing is known of them.
 * @param validated In order of steps.
 */
export function chosenCheckpoint(
  validated: readonly ValidatedCheckpoint[],
  rule: PipelineConfig["train"]["choose"],
): ValidatedCheckpoint | undefined {
  const known = validated.filter(({ success }) => success.length > 0 && success.every(({ n }) => n > 0));
  const best = known.reduce<ValidatedCheckpoint | undefined>(
    (best, one) => best && mean(best) >= mean(one) ? best : one,
    undefined,
  );
  if (!best || rule === "highest") return best;
  const limit = mean(best) - standardError(best);
  return known.find((one) => mean(one) >= limit);
}

/** Mean success over the samplings. */
function mean({ success }: ValidatedCheckpoint): number {
  return success.reduce((sum, { mean }) => sum + mean, 0) / success.length;
}

/** Of that mean, from the widths of the intervals, the samplings taken as independent. */
function standardError({ success }: ValidatedCheckpoint): number {
  const errors = success.map(({ low, high }) => (high - low) / (2 * 1.96));
  return Math.hypot(...errors) / success.length;
}
