/** The limits of a run that end training early enough for the verdict. @module */
import type { Run } from "../context.ts";

/** The limit that leaves no room for this many further steps of RL, as text; null if none does. */
export function limitReached(run: Run, steps = 1): string | null {
  const { deadline, measuring_secs, longest_step_secs, spent, config: { limits } } = run;
  const left = Math.max(0, deadline - Date.now()) / 1000;
  const reserve = measuring_secs * 1.2 + 15;
  if (left < steps * longest_step_secs * 1.1 + reserve) return `${left.toFixed(0)} s left of limits.wall_clock_secs`;
  if (limits.rollouts && spent.rollouts >= limits.rollouts) return `limits.rollouts (${limits.rollouts}) is used up`;
  if (limits.tokens && spent.tokens >= limits.tokens) return `limits.tokens (${limits.tokens}) is used up`;
  return null;
}
