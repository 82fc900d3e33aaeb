/**
 * Time left of a run: the remaining phases, each at the speed that the run has shown for its kind.
 * Never negative; between readings it counts down with the clock and converges to a new estimate instead of jumping.
 * Unknown (null) while there is no basis for the speed of a remaining phase.
 * @module
 */

/** Measured speeds by kind, in seconds per unit. */
export type Speeds = (kind: Phase["kind"]) => number | null;

/** One part of a run. */
export interface Phase {
  name: string;
  /** Phases of one kind share their speed. */
  kind: "rollout" | "replay" | "supervised" | "rl" | "job" | "verdict" | "export";
  units: number;
  /** Whether units are done concurrently (rollouts) or one after the other (steps). */
  counts: "rollouts" | "steps";
  /** Groups of rollouts in it, and the rollouts of each. */
  groups?: { count: number; size: number };
  /** Seconds per unit until a unit of the kind has been done. */
  guess?: (speeds: Speeds) => number | null;
  /** A phase that this one interrupts without ending it. */
  within?: string;
  /** Ended early by the run's time limit. */
  limited?: boolean;
}

interface Running extends Phase {
  done: number;
  /** Seconds spent in it before `since`. */
  secs: number;
  /** `secs` when the last unit was done. */
  secs_at_done: number;
  ended: boolean;
}

/** Weight of the kind's known speed relative to that of the current phase, as a share of the phase. */
const PRIOR = 0.25;
/** Seconds over which the shown time converges to the estimate; fewer when little time is left. */
const FOLLOW_SECS = { least: 0.5, most: 15 };

/** Estimates the time left. */
export class Forecast {
  #phases: Running[] = [];
  #speeds = new Map<Phase["kind"], number>();
  #earlier: Speeds = () => null;
  #current: Running | null = null;
  #since = 0;
  #shown: { at: number; secs: number } | null = null;
  #over = false;
  #now: () => number;

  /** @param now The clock, in seconds. */
  constructor(now: () => number = () => performance.now() / 1000) {
    this.#now = now;
  }

  /** The remaining phases, in order; `earlier` has the speeds of an earlier run. */
  plan(phases: Phase[], earlier: Speeds = () => null) {
    this.#earlier = earlier;
    this.#phases = phases.map((phase) => ({ ...phase, done: 0, secs: 0, secs_at_done: 0, ended: false }));
  }

  /** A phase starts or continues; those before it are over. An unplanned phase only stops the clock. */
  begin(name: string) {
    this.#pause();
    const at = this.#phases.findIndex((phase) => phase.name === name);
    const phase = this.#phases[at];
    if (!phase) return;
    for (const earlier of this.#phases.slice(0, at)) if (earlier.name !== phase.within) this.#end(earlier);
    this.#current = phase;
  }

  /** Units of the current phase are done, if it counts these. */
  done(counts: Phase["counts"], units = 1) {
    const phase = this.#current;
    if (phase?.counts !== counts) return;
    phase.done += units;
    phase.secs_at_done = this.#clock(phase);
  }

  /** Units of the current phase that take no time because an earlier attempt did them. */
  skip(counts: Phase["counts"], units = 1) {
    if (this.#current?.counts === counts) this.#current.units -= units;
  }

  /** The run is over. */
  end() {
    this.#over = true;
  }

  /** The speeds so far, in seconds per unit: of each kind, that of the last phase in which a unit was done. */
  speeds(): Partial<Record<Phase["kind"], number>> {
    const done = this.#phases.filter((phase) => phase.done > 0);
    return Object.fromEntries(done.map(({ kind, secs_at_done, done }) => [kind, secs_at_done / done]));
  }

  /**
   * Seconds left, or null without a basis.
   * @param running Rollouts in flight.
   * @param limit Seconds until the run's time limit, or Infinity.
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

  /** Seconds per unit of a phase: its own speed, combined with the known speed of its kind. */
  #speed(phase: Running, running: number): number | null {
    const known = this.#known(phase.kind);
    if (phase.done === 0) return known ?? phase.guess?.((kind) => this.#known(kind)) ?? null;
    const parallel = phase.counts === "rollouts";
    // Rollouts in flight are half done on average.
    const shown = parallel ? phase.done + Math.min(running, phase.units - phase.done) / 2 : phase.done;
    const secs = parallel ? this.#clock(phase) : phase.secs_at_done;
    const weight = known === null ? 0 : PRIOR * phase.units;
    return (secs + weight * (known ?? 0)) / (shown + weight);
  }

  #known(kind: Phase["kind"]): number | null {
    return this.#speeds.get(kind) ?? this.#earlier(kind);
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
