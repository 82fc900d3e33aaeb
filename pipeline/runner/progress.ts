/**
 * How far a run is: the rung, the step, tokens per second, success so far, time left. The runner feeds it; whoever
 * shows it (terminal, log, `watch`) reads snapshots. It never decides anything.
 * @module
 */

/** One reading of a run's progress. */
export interface ProgressSnapshot {
  /** What the run does now: `discover`, `scenarios`, `evaluate base`, `warm start`, `rl`, `export`, … */
  rung: string;
  step: number;
  steps: number;
  /** Rollouts (or demonstrations, or supervised steps) done of the current unit. */
  done: number;
  total: number;
  /** Sampled tokens per second over the last 30 s; 0 while nothing is sampled. */
  tokens_per_second: number;
  /** Share of successful rollouts of the current unit, or null before the first one. */
  success: number | null;
  /** Rollouts whose reward is invalid, by cause. */
  failures: Record<string, number>;
  /** Rollouts in flight. */
  running: number;
  /** Seconds left of the whole run as estimated, or null before there is a basis. */
  eta_secs: number | null;
  message: string;
}

const WINDOW_MS = 30_000;

/** Collects progress and hands snapshots to a listener. */
export class Progress {
  #snapshot: ProgressSnapshot = {
    rung: "start",
    step: 0,
    steps: 0,
    done: 0,
    total: 0,
    tokens_per_second: 0,
    success: null,
    failures: {},
    running: 0,
    eta_secs: null,
    message: "",
  };
  #successes = 0;
  #judged = 0;
  #tokens: { at: number; count: number }[] = [];
  #listener: (snapshot: ProgressSnapshot) => void;

  constructor(listener: (snapshot: ProgressSnapshot) => void = () => {}) {
    this.#listener = listener;
  }

  /** Starts a unit of work. */
  begin(rung: string, total: number, step = 0, steps = 0) {
    this.#successes = 0;
    this.#judged = 0;
    this.#update({ rung, total, done: 0, step, steps, success: null, failures: {}, message: "" });
  }

  /** A line about what is going on, for work that has no count. */
  say(message: string) {
    this.#update({ message });
  }

  /** Rollouts in flight went up or down. */
  running(change: number) {
    this.#update({ running: this.#snapshot.running + change });
  }

  /** Tokens were sampled. */
  tokens(count: number) {
    this.#tokens.push({ at: Date.now(), count });
  }

  /** One part of the unit is done. */
  advance(count = 1) {
    this.#update({ done: this.#snapshot.done + count });
  }

  /** A rollout was judged: successful, not, or invalid with a cause. */
  judged(success: boolean | { invalid: string }) {
    const failures = { ...this.#snapshot.failures };
    if (typeof success === "object") failures[success.invalid] = (failures[success.invalid] ?? 0) + 1;
    else {
      this.#judged++;
      if (success) this.#successes++;
    }
    this.#update({
      done: this.#snapshot.done + 1,
      success: this.#judged ? this.#successes / this.#judged : null,
      failures,
    });
  }

  /** The estimate of the time left. */
  eta(seconds: number | null) {
    this.#update({ eta_secs: seconds });
  }

  /** The current reading. */
  snapshot(): ProgressSnapshot {
    const now = Date.now();
    this.#tokens = this.#tokens.filter(({ at }) => now - at < WINDOW_MS);
    const first = this.#tokens[0];
    const span = first ? Math.max(1000, now - first.at) : 1000;
    const sum = this.#tokens.reduce((total, { count }) => total + count, 0);
    return { ...this.#snapshot, tokens_per_second: sum * 1000 / span };
  }

  #update(change: Partial<ProgressSnapshot>) {
    Object.assign(this.#snapshot, change);
    this.#listener(this.snapshot());
  }
}
