/**
 * Time left of a run: the phases that are still to come, each at the speed that the same run has shown for its kind.
 * Never negative; between readings it runs down with the clock and moves towards a new estimate instead of jumping.
 * Unknown (null) as long as the speed of any phase to come has no basis.
 * @module
 */

/** Speeds of the kinds that have been measured, in seconds per unit. */
export type Speeds = (kind: Phase["kind"]) => number | null;

/** One part of a run. */
export interface Phase {
  name: string;
  /** Phases of one kind share their speed. */
  kind: "rollout" | "replay" | "supervised" | "rl" | "job" | "verdict" | "export";
  units: number;
  /** Whether units are done side by side (rollouts) or one after another (steps). */
  counts: "rollouts" | "steps";
  /** Seconds per unit as long as no unit of the kind has been done. */
  guess?: (speeds: Speeds) => number | null;
  /** A phase that this one interrupts and does not end. */
  within?: string;
  /** Cut short by the run's own time limit. */
  limited?: boolean;
}

interface Running extends Phase {
  done: number;
  /** Seconds spent in it before `since`. */
  secs: number;
  /** `secs` at the last unit done. */
  secs_at_done: number;
  ended: boolean;
}

/** Weight of what is known of a kind against what the phase under way shows, in shares of the phase. */
const PRIOR = 0.25;
/** Seconds in which the shown time follows the estimate; less when little is left. */
const FOLLOW_SECS = { least: 0.5, most: 15 };

/** Estimates the time left. */
export class Forecast {
  #phases: Running[] = [];
  #speeds = new Map<Phase["kind"], number>();
  #current: Running | null = null;
  #since = 0;
  #shown: { at: number; secs: number } | null = null;
  #over = false;
  #now: () => number;

  /** @param now The clock, in seconds. */
  constructor(now: () => number = () => performance.now() / 1000) {
    this.#now = now;
  }

  /** What is to come, in order. */
  plan(phases: Phase[]) {
    this.#phases = phases.map((phase) => ({ ...phase, done: 0, secs: 0, secs_at_done: 0, ended: false }));
  }

  /** A phase begins or goes on; those before it are over. What is not planned only stops the clock. */
  begin(name: string) {
    this.#pause();
    const at = this.#phases.findIndex((phase) => phase.name === name);
    const phase = this.#phases[at];
    if (!phase) return;
    for (const earlier of this.#phases.slice(0, at)) if (earlier.name !== phase.within) this.#end(earlier);
    this.#current = phase;
  }

  /** Units of the phase under way are done, where it counts these. */
  done(counts: Phase["counts"], units = 1) {
    const phase = this.#current;
    if (phase?.counts !== counts) return;
    phase.done += units;
    phase.secs_at_done = this.#clock(phase);
  }

  /** Units of the phase under way that need no time: an earlier attempt has done them. */
  skip(counts: Phase["counts"], units = 1) {
    if (this.#current?.counts === counts) this.#current.units -= units;
  }

  /** The run is over. */
  end() {
    this.#over = true;
  }

  /**
   * Seconds left, or null without a basis.
   * @param running Rollouts in flight.
   * @param limit Seconds until the run's own time limit, or Infinity.
   */
  left(running: number, limit = Infinity): number | null {
    if (this.#over) return 0;
    const now = this.#now();
    const target = this.#estimate(running, limit);
    if (target === null || this.#shown === null) {
      this.#shown = target === null ? null : { at: now, secs: target };
      return target;
    }
    const passed = now - this.#shown.at;
    const counted = Math.max(0, this.#shown.secs - passed);
    const pace = Math.min(FOLLOW_SECS.most, Math.max(FOLLOW_SECS.least, target / 4));
    const secs = counted + (target - counted) * (1 - Math.exp(-passed / pace));
    this.#shown = { at: now, secs };
    return secs;
  }

  #estimate(running: number, limit: number): number | null {
    if (this.#phases.length === 0) return null;
    let [limited, after] = [0, 0];
    for (const phase of this.#phases) {
      if (phase.ended) continue;
      const secs = this.#remaining(phase, phase === this.#current ? running : 0);
      if (secs === null) return null;
      if (phase.limited) limited += secs;
      else after += secs;
    }
    return Math.min(limited, Math.max(0, limit - after)) + after;
  }

  #remaining(phase: Running, running: number): number | null {
    const left = Math.max(0, phase.units - phase.done);
    if (left === 0) return 0;
    const speed = this.#speed(phase, running);
    if (speed === null) return null;
    if (phase.counts === "rollouts") return speed * (left - Math.min(running, left) / 2);
    const under_way = Math.min(speed, this.#clock(phase) - phase.secs_at_done);
    return speed * left - under_way;
  }

  /** Seconds per unit of a phase: what it shows itself, held to what is known of its kind. */
  #speed(phase: Running, running: number): number | null {
    const known = this.#speeds.get(phase.kind) ?? null;
    if (phase.done === 0) return known ?? phase.guess?.((kind) => this.#speeds.get(kind) ?? null) ?? null;
    const parallel = phase.counts === "rollouts";
    // Rollouts in flight are half done on average.
    const shown = parallel ? phase.done + Math.min(running, phase.units - phase.done) / 2 : phase.done;
    const secs = parallel ? this.#clock(phase) : phase.secs_at_done;
    const weight = known === null ? 0 : PRIOR * phase.units;
    return (secs + weight * (known ?? 0)) / (shown + weight);
  }

  #clock(phase: Running): number {
    return phase.secs + (phase === this.#current ? this.#now() - this.#since : 0);
  }

  #pause() {
    const now = this.#now();
    if (this.#current) this.#current.secs += now - this.#since;
    this.#current = null;
    this.#since = now;
  }

  #end(phase: Running) {
    if (phase.ended) return;
    phase.ended = true;
    if (phase.done > 0) this.#speeds.set(phase.kind, phase.secs_at_done / phase.done);
  }
}
