/**
 * Shows a run's progress on stderr: one live line on a terminal, plain lines otherwise (at each new unit of work and
 * every ten seconds).
 * @module
 */
import type { ProgressSnapshot } from "../../pipeline/runner/progress.ts";
import { oneLine } from "./table.ts";

const CLEAR = "\r\x1b[2K";
/** Characters of a line at most; some of it comes from models, tools and servers. */
const WIDEST = 1000;
const LIVE_MS = 200;
const PLAIN_MS = 10_000;

/** Writes progress until it is disposed. */
export class ProgressView implements Disposable {
  #live: boolean;
  #write: (text: string) => void;
  #latest: ProgressSnapshot | null = null;
  #timer: ReturnType<typeof setInterval>;
  #unit = "";
  #started = performance.now();
  #columns: () => number;

  constructor(options: { live: boolean; write: (text: string) => void; columns?: () => number }) {
    this.#live = options.live;
    this.#columns = options.columns ?? columns;
    this.#write = options.write;
    this.#timer = setInterval(() => this.#show(), this.#live ? LIVE_MS : PLAIN_MS);
  }

  /** Takes a new reading. */
  update(snapshot: ProgressSnapshot) {
    this.#latest = snapshot;
    const unit = `${snapshot.rung} ${snapshot.step} ${snapshot.message}`;
    if (!this.#live && unit !== this.#unit) this.#show();
    this.#unit = unit;
  }

  /** A line of its own, above the live one. */
  line(text: string) {
    const clean = oneLine(text, WIDEST);
    this.#write(this.#live ? `${CLEAR}${clean}\n` : `${this.#clock()} ${clean}\n`);
    if (this.#live) this.#show();
  }

  [Symbol.dispose]() {
    clearInterval(this.#timer);
    if (this.#live) this.#write(CLEAR);
  }

  #show() {
    if (!this.#latest) return;
    const text = `${this.#clock()} ${oneLine(describe(this.#latest), WIDEST)}`;
    // A full line would wrap, and only its second half would be cleared the next time.
    this.#write(this.#live ? CLEAR + text.slice(0, this.#columns() - 1) : text + "\n");
  }

  #clock(): string {
    return duration((performance.now() - this.#started) / 1000);
  }
}

/** One reading in words. */
export function describe(snapshot: ProgressSnapshot): string {
  const { rung, step, steps, done, total, tokens_per_second, success, failures, eta_secs, message } = snapshot;
  const failed = Object.entries(failures).map(([cause, count]) => `${count} ${cause}`);
  return [
    steps > 0 ? `${rung} ${step}/${steps}` : rung,
    total > 0 ? `${done}/${total}` : "",
    tokens_per_second >= 1 ? `${tokens_per_second.toFixed(0)} tok/s` : "",
    success === null ? "" : `${(success * 100).toFixed(0)} % success`,
    failed.length ? `failed: ${failed.join(", ")}` : "",
    eta_secs === null ? "" : `${duration(eta_secs)} left`,
    message,
  ].filter((part) => part !== "").join(" · ");
}

/** Seconds as `m:ss` or `h:mm:ss`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (value: number) => String(value).padStart(2, "0");
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

function columns(): number {
  try {
    return Deno.consoleSize().columns || 100;
  } catch {
    return 100;
  }
}
