/**
 * What the figures of an audit mean, in plain words: warnings where a judge should not be trusted, notes where something
 * could not be measured.
 * @module
 */
import { audits, counted, type Diagnostic } from "../diagnostics/mod.ts";
import type { JudgeRole } from "../plugin.ts";
import type { AgreementFigures, AuditFigures, CanaryFigures } from "./audit_types.ts";

/** Figures from which an audit warns. */
export const LIMITS = {
  /** Kappa below it is less than substantial agreement (Landis and Koch, Biometrics 33 (1977) 159–174). */
  kappa: 0.6,
  /** Agreement below it, where there is no kappa. */
  accuracy: 0.8,
  order_flip_rate: 0.1,
  empty: 0.2,
  confident_wrong: 0.3,
  /** Gain by form alone, if its interval excludes 0. */
  gain: 0.05,
  invalid: 0.1,
};

/** The warnings, most serious first. */
export function warningsOf(figures: AuditFigures, scale: JudgeRole["scale"]): Diagnostic[] {
  const { checks, human, second, order, canaries: { empty, confident_wrong, decorated, padded }, judgements } = figures;
  const { total, invalid, cause } = judgements;
  return [
    ...(invalid > LIMITS.invalid * total ? [audits.often_invalid(invalid, total, cause ?? "")] : []),
    ...disagreement("the checks", checks),
    ...disagreement("people's labels", human),
    ...disagreement("the second judge", second),
    ...(order && order.mean > LIMITS.order_flip_rate ? [audits.order(order)] : []),
    ...(isHigh(empty, LIMITS.empty, scale) ? [audits.rewards_empty(empty)] : []),
    ...(isHigh(confident_wrong, LIMITS.confident_wrong, scale) ? [audits.rewards_confidence(confident_wrong)] : []),
    ...(gains(decorated) ? [audits.rewards_format(decorated)] : []),
    ...(gains(padded) ? [audits.rewards_length(padded)] : []),
  ];
}

function disagreement(with_what: string, figures: AgreementFigures | null): Diagnostic[] {
  if (!figures) return [];
  const { kappa, mean, of } = figures;
  const low = kappa ? kappa.value < LIMITS.kappa : mean < LIMITS.accuracy;
  const named = of === "pairs" ? `${with_what} (which rollout of a pair is better)` : with_what;
  return low ? [audits.disagrees(named, figures, kappa?.value ?? null)] : [];
}

/** A relative score means little by itself: a canary must also be placed above real attempts. */
function isHigh(
  figures: CanaryFigures | null,
  limit: number,
  scale: JudgeRole["scale"],
): figures is CanaryFigures {
  return figures !== null && figures.mean > limit && (scale === "absolute" || (figures.above ?? 0) > 0);
}

function gains(figures: CanaryFigures | null): figures is CanaryFigures {
  return figures !== null && figures.mean > LIMITS.gain && figures.low > 0;
}

/** Fewer comparisons than this are called few. */
const FEW = 10;

/** What was not measured, and what rests on few comparisons. */
export function notesOf(
  figures: AuditFigures,
  { observes, second }: { observes: boolean; second: boolean },
): string[] {
  const { checks, human, order, canaries } = figures;
  const few = (what: string, n: number | undefined, more = "raise --sample, or audit a longer run") =>
    n !== undefined && n < FEW ? [`${what} rests on ${counted(n, "comparison")} only: ${more}`] : [];
  return [
    ...(checks ? few("agreement with the checks", checks.n) : [
      "no agreement with checks: no sampled rollout has both a judgement of this judge and a decision of checks",
    ]),
    ...few("agreement with people's labels", human?.n, "label more rollouts (`hone label`)"),
    ...(figures.second ? few("agreement with the second judge", figures.second.n) : []),
    ...(second && !figures.second
      ? ["no agreement with the second judge: no sampled rollout has a judgement of both"]
      : []),
    ...(order ? few("the order flip rate", order.n) : [
      "no order flip rate: no scenario in the sample has two distinct attempts that the judge scores",
    ]),
    ...(observes ? ["no canaries: the judge reads an observation of the environment, of which they have none"] : []),
    ...(!observes && canaries.empty === null ? ["no canary was scored: the judge abstains on them, or fails"] : []),
  ];
}
