/**
 * Shows a run's progress on stderr: one live line on a terminal, plain lines otherwise (at each new unit of work and
 * every ten seconds).
 * @module
 */
import type { ProgressSnapshot } from "../../pipeline/runner/progress.ts";

const LIVE_MS = 200;
const PLAIN_MS = 10_000;

/** Writes progress until it is disposed. */
export class ProgressView implements Disposable {
  #live: boolean;
  #write: (text: string) => void;
  #latest: (() => ProgressSnapshot) | null = null;
  #timer: ReturnType<typeof setInterval>;
  #rung = "";
  #started = performance.now();

  constructor(options: { live: boolean; write: (text: string) => void }) {
    this.#live = options.live;
    this.#write = options.write;
    this.#timer = setInterval(() => this.#show(), this.#live ? LIVE_MS : PLAIN_MS);
  }

  /** Takes a new reading; `read` gives a fresh snapshot when the line is drawn. */
  update(snapshot: ProgressSnapshot, read: () => ProgressSnapshot = () => snapshot) {
    this.#latest = read;
    const rung = `${snapshot.rung} ${snapshot.step}`;
    if (!this.#live && (rung !== this.#rung || snapshot.message)) this.#show();
    this.#rung = rung;
  }

  /** A line of its own, above the live one. */
  line(text: string) {
    this.#write(this.#live ? `\r\x1b[2K${text}\n` : `${this.#clock()} ${text}\n`);
    if (this.#live) this.#show();
  }

  [Symbol.dispose]() {
    clearInterval(this.#timer);
    if (this.#live) this.#write("\r\x1b[2K");
  }

  #show() {
    if (!this.#latest) return;
    const text = describe(this.#latest());
    this.#write(
      this.#live ? `\r\x1b[2K${this.#clock()} ${text}`.slice(0, columns() + 5) : `${this.#clock()} ${text}\n`,
    );
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
    return Deno.consoleSize().columns;
  } catch {
    return 100;
  }
}
