/**
 * Validates what a judge returned: a score outside [0, 1], NaN or a missing judgement becomes `invalid`, with the
 * judge's name; it never fails the run, and never counts as 0.
 * @module
 */
import { redact } from "../common/redact.ts";
import { messageOf } from "../diagnostics/mod.ts";
import type { Judgement } from "../events.ts";

const FAILED = "judge failed: ";

/**
 * The judgement of a judge that failed on a rollout, because its language model or program gave no usable result; it
 * is `invalid`, and a resumed run asks the judge again. `cause` is an error or a sentence.
 */
export function failedJudgement(cause: unknown): { invalid: string } {
  return { invalid: `${FAILED}${redact(typeof cause === "string" ? cause : messageOf(cause))}` };
}

/** Whether a judgement is one that `failedJudgement` made. */
export function hasFailed(judgement: Judgement): boolean {
  return "invalid" in judgement && judgement.invalid.startsWith(FAILED);
}

/** One judgement for each of `count` rollouts, whatever the judge returned. */
export function checkedJudgements(made: unknown, count: number, judge: string): Judgement[] {
  const wrong = (what: string): Judgement => ({ invalid: `judge ${JSON.stringify(judge)} ${what}` });
  if (!Array.isArray(made)) return Array.from({ length: count }, () => wrong("returned no list of judgements"));
  if (made.length > count) {
    const what = `returned ${made.length} judgements for ${count} rollouts`;
    return Array.from({ length: count }, () => wrong(what));
  }
  return Array.from({ length: count }, (_, index) => checked(made[index], wrong));
}

function checked(one: unknown, wrong: (what: string) => Judgement): Judgement {
  if (typeof one !== "object" || one === null) return wrong("returned no judgement");
  const { score, reason, parts, abstain, invalid } = one as Record<string, unknown>;
  if (typeof invalid === "string") return { invalid };
  if (typeof abstain === "string") return { abstain };
  if (typeof score !== "number") return wrong("returned a judgement without score, abstain or invalid");
  if (!(score >= 0 && score <= 1)) return wrong(`returned the score ${score}: expected a number from 0 to 1`);
  const numbers = Object.entries(parts ?? {});
  const odd = numbers.find(([, value]) => typeof value !== "number" || !Number.isFinite(value));
  if (odd) return wrong(`returned the part ${odd[0]} as ${String(odd[1])}: expected a number`);
  return {
    score,
    reason: typeof reason === "string" ? reason : "",
    ...(numbers.length > 0 && { parts: Object.fromEntries(numbers) as Record<string, number> }),
  };
}
