/**
 * Which figures of a run trackers show, and under which names. Names are stable:
 *
 * - `rl/<figure>` and `supervised/<figure>` of each training step: `loss`, `seconds`, `staleness`, what the trainer reports
 *   (`grad_norm`, `learning_rate`, `entropy`, `clip_fraction`, `mismatch_abs`, `tokens_per_second`, `memory_peak_bytes`, …)
 *   and what its rollouts show (`reward_mean`, `success_rate`, `invalid_call_rate`, …);
 * - `evaluation/<split>/<policy>/<greedy or sampled>/<figure>`: `success`, `success_low` and `success_high` (95 % interval),
 *   `rollouts`, `seconds`; the policies of single RL steps are all called `rl`;
 * - what a tracker measures, such as `carbon/emissions_kg`.
 *
 * The step is that of the optimiser, supervised steps included, from 1; 0 before the first.
 * @module
 */
import type { Envelope, EventMap } from "@hone/hone";

/** Figures of one event. */
export interface Figures {
  /** The event's number: unique in a run, and increasing. */
  seq: number;
  /** Milliseconds since the epoch. */
  at: number;
  step: number;
  values: Record<string, number>;
}

const MAX_NAME_CHARS = 250;

/** Reads the figures of a run's events, in order. */
export class FigureReader {
  #step = 0;

  /** The event's figures; null if it has none, and empty for the verdict. */
  read({ seq, at, type, data }: Envelope): Figures | null {
    const values = this.#values(type, data);
    if (!values) return null;
    const finite = Object.entries(values).filter(([, value]) => Number.isFinite(value));
    return {
      seq,
      at,
      step: this.#step,
      values: Object.fromEntries(finite.map(([name, value]) => [safe(name), value])),
    };
  }

  #values(type: Envelope["type"], data: Envelope["data"]): Record<string, number> | null {
    if (type === "train.stepped") return this.#stepped(data as EventMap["train.stepped"]);
    if (type === "evaluation.completed") return evaluated(data as EventMap["evaluation.completed"]);
    if (type === "verdict.made") return {};
    if (type !== "metric.recorded") return null;
    // Metrics of a kind of step are in `train.stepped` and `evaluation.completed` too.
    const { name, value, kind } = data as EventMap["metric.recorded"];
    return kind === undefined ? { [name]: value } : null;
  }

  #stepped({ step, kind, loss, metrics, seconds, staleness }: EventMap["train.stepped"]) {
    this.#step = step;
    const whole = { ...(metrics.rows !== 0 && { loss }), ...metrics, seconds, staleness };
    return Object.fromEntries(Object.entries(whole).map(([name, value]) => [`${kind}/${name}`, value]));
  }
}

function evaluated({ policy, split, temperature, success, seconds }: EventMap["evaluation.completed"]) {
  const name = /^step-\d+$/.test(policy) ? "rl" : policy;
  const prefix = `evaluation/${split}/${name}/${temperature === 0 ? "greedy" : "sampled"}`;
  const { mean, low, high, n } = success;
  return {
    // Without a rollout that could be judged there is no success.
    ...(n > 0 && { [`${prefix}/success`]: mean, [`${prefix}/success_low`]: low, [`${prefix}/success_high`]: high }),
    [`${prefix}/rollouts`]: n,
    [`${prefix}/seconds`]: seconds,
  };
}

/** The name as every tracker takes it: parts of letters, digits, `_`, `-` and `.`, separated by `/`. */
function safe(name: string): string {
  const parts = name.split("/").map((part) => part.replace(/[^A-Za-z0-9_.-]/g, "_").replace(/^\.*$|^-/, "_"));
  return parts.join("/").slice(0, MAX_NAME_CHARS);
}
