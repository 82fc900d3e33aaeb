/**
 * Reasons to stop RL instead of training on a step: most of its rewards are invalid, or no group has had a learning
 * signal for `train.give_up_after` steps. The run then fails with the reason and can be resumed. Where every rollout
 * succeeds there is nothing left to learn: RL ends as at a limit of the run, and the verdict is made.
 * @module
 */
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import { lastStepMetrics } from "../../store/step_records.ts";
import type { Judged, Run } from "../context.ts";
import { noSignal } from "./step_batch.ts";

/** The metrics that decide: all are of `step_batch.ts`. */
type Signal = Record<string, number>;

/** Follows the steps of a run, in order. */
export class GiveUp {
  /** Of the last steps, the newest first; null before the records are read. */
  #last: Signal[] | null = null;

  constructor(private readonly run: Run) {}

  /** Throws if the run should stop at this step rather than train on it. */
  async check(step: number, groups: Judged[][], metrics: Signal): Promise<void> {
    const { run_dir, config: { train } } = this.run;
    const rewards = groups.flat().map(({ reward }) => reward);
    const invalid = rewards.flatMap((reward) => "invalid" in reward ? [reward.invalid] : []);
    if (invalid.length === rewards.length || invalid.length > train.max_invalid * rewards.length) {
      const [cause, times] = mostFrequent(invalid);
      throw new HoneError(messages.invalid_rewards(step, invalid.length, rewards.length, { cause, times }, run_dir));
    }
    this.#last ??= await lastStepMetrics(this.run.store, train.give_up_after);
    this.#last = [metrics, ...this.#last].slice(0, train.give_up_after);
    if (!isSilent(this.#last, train.give_up_after) || metrics.success_rate === 1) return;
    const values = rewards.flatMap((reward) => "invalid" in reward ? [] : [String(Number(reward.value.toFixed(4)))]);
    const [value, times] = mostFrequent(values);
    const small = groups.filter((group) => noSignal(group, train) === "too_small").length;
    const found = { steps: train.give_up_after, value, times, rewards: values.length, small };
    throw new HoneError(messages.no_signal(step, found, run_dir));
  }
}

/** Why there is nothing left to learn, as the records say; null if there may be something. */
export async function learned({ store, config: { train } }: Run): Promise<string | null> {
  const last = await lastStepMetrics(store, train.give_up_after);
  const all = isSilent(last, train.give_up_after) && last.every(({ success_rate }) => success_rate === 1);
  return all ? `every rollout of the last ${train.give_up_after} steps succeeded (train.give_up_after)` : null;
}

function isSilent(last: Signal[], steps: number): boolean {
  return steps > 0 && last.length === steps && last.every(({ signal_groups }) => signal_groups === 0);
}

function mostFrequent(texts: string[]): [text: string, times: number] {
  const counts = [...Map.groupBy(texts, (text) => text)].map(([text, all]): [string, number] => [text, all.length]);
  return counts.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0] ?? ["no rollout ran", 0];
}
