/**
 * Progress of a run: rung, step, tokens per second, success so far, rollouts in flight, time left. The runner updates
 * it; terminal, log and `watch` read snapshots. It has no influence on the run.
 * @module
 */
import { Forecast, type Phase } from "./forecast.ts";
import { InFlight, type RunningRollout, type Tracked } from "./in_flight.ts";

/** A snapshot of a run's progress. */
export interface ProgressSnapshot {
  /** The current activity: `discover`, `scenarios`, `evaluate base`, `warm start`, `rl`, `export`, … */
  rung: string;
  step: number;
  steps: number;
  /** Rollouts (or demonstrations, or supervised steps) done of the current unit. */
  done: number;
  total: number;
  /** Tokens sampled per second, over the last seconds; null while nothing is sampled. */
  tokens_per_second: number | null;
  /** Success rate of the current unit's rollouts, or null before the first one. */
  success: number | null;
  /** Rollouts whose reward is invalid, by cause. */
  failures: Record<string, number>;
  /** Rollouts in flight. */
  running: number;
  /** The oldest of them, at most a dozen. */
  rollouts: RunningRollout[];
  /** Seconds since the run was started or resumed. */
  elapsed_secs: number;
  /** Estimated seconds left of the whole run, or null if there is no basis for an estimate yet. */
  eta_secs: number | null;
  message: string;
}

/** The snapshot before anything has started. */
export const NO_PROGRESS: ProgressSnapshot = {
  rung: "start",
  step: 0,
  steps: 0,
  done: 0,
  total: 0,
  tokens_per_second: null,
  success: null,
  failures: {},
  running: 0,
  rollouts: [],
  elapsed_secs: 0,
  eta_secs: null,
  message: "",
};

/** Turns that take a few seconds end in bursts, which a shorter window would show. */
const WINDOW_SECS = 8;

/** Collects progress; notifies a listener of each new unit of work and message, and returns snapshots at any time. */
export class Progress {
  #unit = { rung: "start", step: 0, steps: 0, done: 0, total: 0, message: "", failures: {} as Record<string, number> };
  #successes = 0;
  #judged = 0;
  /** Tokens by completion time of their turn, oldest first, since sampling last started. */
  #tokens: { at: number; count: number }[] = [];
  #sampling_since = 0;
  #in_flight = new InFlight();
  #forecast: Forecast;
  #deadline = Infinity;
  #began = performance.now();
  #opening_secs: number | null = null;
  #listener: (read: () => ProgressSnapshot) => void;
  #now: () => number;

  /** @param now The clock, in seconds. */
  constructor(
    listener: (read: () => ProgressSnapshot) => void = () => {},
    now: () => number = () => performance.now() / 1000,
  ) {
    this.#listener = listener;
    this.#now = now;
    this.#forecast = new Forecast(now);
  }

  /** Sets the remaining phases, and the run's time limit (milliseconds since the epoch). */
  plan(phases: Phase[], deadline = Infinity) {
    this.#opening_secs ??= (performance.now() - this.#began) / 1000;
    this.#forecast.plan(phases);
    this.#deadline = deadline;
  }

  /** Starts a unit of work; `phase` is its name in the plan, if it differs from the rung's. */
  begin(rung: string, total: number, { step = 0, steps = 0, phase = rung } = {}) {
    this.#successes = 0;
    this.#judged = 0;
    this.#unit = { rung, total, done: 0, step, steps, failures: {}, message: "" };
    this.#forecast.begin(phase);
    this.#changed();
  }

  /** A message about the current work, for work without a count. */
  say(message: string) {
    this.#unit.message = message;
    this.#changed();
  }

  /** A rollout starts. */
  rollout(rollout_id: string, scenario_id: string): Tracked {
    if (this.#in_flight.count === 0) {
      this.#sampling_since = this.#now();
      this.#tokens = [];
    }
    return this.#in_flight.begin(rollout_id, scenario_id);
  }

  /** A turn with this number of tokens is complete. */
  tokens(count: number) {
    const at = this.#now();
    this.#tokens.push({ at, count });
    while (this.#tokens[0]!.at < at - WINDOW_SECS) this.#tokens.shift();
  }

  /** The current unit has more rollouts than it began with. */
  extend(rollouts: number) {
    this.#unit.total += rollouts;
  }

  /** One part of the unit is done. */
  advance() {
    this.#unit.done++;
  }

  /** An optimiser step is done. */
  stepped() {
    this.#forecast.done("steps");
  }

  /** A rollout was judged, now or in an earlier attempt: successful, unsuccessful, or invalid with a cause. */
  judged(success: boolean | { invalid: string }, { recalled = false } = {}) {
    const { failures } = this.#unit;
    if (typeof success === "object") failures[success.invalid] = (failures[success.invalid] ?? 0) + 1;
    else {
      this.#judged++;
      if (success) this.#successes++;
    }
    this.#unit.done++;
    if (recalled) this.#forecast.skip("rollouts");
    else this.#forecast.done("rollouts");
  }

  /** The run is over. */
  end() {
    this.#forecast.end();
  }

  /** The run's speeds, for estimates of later ones. */
  measured(): { opening_secs: number; speeds: ReturnType<Forecast["speeds"]> } {
    return { opening_secs: this.#opening_secs ?? 0, speeds: this.#forecast.speeds() };
  }

  /** The current snapshot. */
  snapshot(): ProgressSnapshot {
    const running = this.#in_flight.count;
    return {
      ...this.#unit,
      failures: { ...this.#unit.failures },
      success: this.#judged ? this.#successes / this.#judged : null,
      tokens_per_second: running > 0 ? this.#rate() : null,
      running,
      rollouts: this.#in_flight.list(),
      elapsed_secs: (performance.now() - this.#began) / 1000,
      eta_secs: this.#forecast.left(running, (this.#deadline - Date.now()) / 1000),
    };
  }

  /** Over the last seconds, or since sampling started if that is more recent. */
  #rate(): number | null {
    const now = this.#now();
    const from = Math.max(now - WINDOW_SECS, this.#sampling_since);
    const recent = this.#tokens.filter(({ at }) => at >= from);
    const total = recent.reduce((sum, { count }) => sum + count, 0);
    return total > 0 ? total / Math.max(1, now - from) : null;
  }

  #changed() {
    this.#listener(() => this.snapshot());
  }
}
