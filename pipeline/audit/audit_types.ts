/** The figures of an audit. @module */
import type { Interval } from "../events.ts";
import type { Canary } from "./canaries.ts";

/** Agreement of a judge with something else that says of rollouts how good they are. */
export interface AgreementFigures extends Interval {
  /**
   * What `mean` is a share of: `rollouts` on whose success both agree; for a relative judge `pairs` of one scenario's
   * rollouts, of which the other says that one is better, that the judge orders alike.
   */
  of: "rollouts" | "pairs";
  /** Cohen's kappa; null for pairs, and if both say the same of all rollouts. */
  kappa: { value: number; low: number; high: number } | null;
}

/** What a judge says of one kind of canary. */
export interface CanaryFigures extends Interval {
  /** For canaries that did nothing: share of the run's own attempts at the same task that it scored lower. */
  above: number | null;
}

/** The figures of one judge. What could not be measured is null, and `notes` says why. */
export interface AuditFigures {
  /** With the checks that decide success without a language model. */
  checks: AgreementFigures | null;
  /** Share of the pairs of rollouts that swap places when the judge is shown their group in reverse order. */
  order: Interval | null;
  canaries: Record<Canary, CanaryFigures | null>;
  second: AgreementFigures | null;
  human: AgreementFigures | null;
  /** Judgements that were asked for, and those that are invalid, with their most frequent cause. */
  judgements: { total: number; invalid: number; cause: string | null };
}
