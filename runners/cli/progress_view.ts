/**
 * Shows a run's progress: on a terminal a block that is redrawn in place (current step, and rollouts in flight),
 * otherwise plain lines (at each new unit of work and every ten seconds).
 * @module
 */
import type { RunningRollout } from "../../pipeline/run/progress/in_flight.ts";
import type { ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";
import { cell, LiveFrame, type Size, terminalSize } from "./live_frame.ts";
import { oneLine } from "../verbs/table.ts";

/** Maximum characters of a line; parts of it come from models, tools and servers. */
const WIDEST = 1000;
const LIVE_MS = 200;
const PLAIN_MS = 10_000;
/** Maximum lines of the block. */
const HIGHEST = 12;

/** Writes progress until it is disposed. */
export class ProgressView implements Disposable {
  #frame: LiveFrame | null;
  #write: (text: string) => void;
  #size: () => Size;
  #read: (() => ProgressSnapshot) | null = null;
  #timer: ReturnType<typeof setInterval>;
  #unit = "";

  constructor({ live, write, size = terminalSize }: {
    live: boolean;
    write: (text: string) => void;
    size?: () => Size;
  }) {
    this.#size = size;
    this.#frame = live ? new LiveFrame(write, size) : null;
    this.#write = write;
    this.#timer = setInterval(() => this.#show(), live ? LIVE_MS : PLAIN_MS);
  }

  /** A new unit of work or message; `read` returns the current progress. */
  update(read: () => ProgressSnapshot) {
    this.#read = read;
    if (this.#frame) return;
    const { rung, step, message } = read();
    const unit = `${rung} ${step} ${message}`;
    if (unit !== this.#unit) this.#show();
    this.#unit = unit;
  }

  /** A permanent line above the live ones. */
  line(text: string) {
    const clean = oneLine(text, WIDEST);
    if (this.#frame) this.#frame.draw(this.#lines(), [clean]);
    else this.#write(`${this.#clock()} ${clean}\n`);
  }

  [Symbol.dispose]() {
    clearInterval(this.#timer);
    this.#frame?.clear();
  }

  #show() {
    if (!this.#read) return;
    if (this.#frame) this.#frame.draw(this.#lines());
    else this.#write(`${this.#clock()} ${oneLine(describe(this.#read()), WIDEST)}\n`);
  }

  #lines(): string[] {
    if (!this.#read) return [];
    const { columns, rows } = this.#size();
    const snapshot = this.#read();
    const head = `${this.#clock()} ${oneLine(describe(snapshot), WIDEST)}`;
    const room = Math.min(HIGHEST, rows - 1) - 1;
    return [head, ...inFlight(snapshot, room, columns - 1)];
  }

  #clock(): string {
    return duration(this.#read?.().elapsed_secs ?? 0);
  }
}

/** One reading of the progress, as text. */
export function describe(snapshot: ProgressSnapshot): string {
  const { rung, step, steps, done, total, tokens_per_second, success, failures, eta_secs, message } = snapshot;
  const failed = Object.entries(failures).map(([cause, count]) => `${count} ${cause}`);
  return [
    steps > 0 ? `${rung} ${step}/${steps}` : rung,
    total > 0 ? `${done}/${total}` : "",
    tokens_per_second !== null && tokens_per_second >= 1 ? `${tokens_per_second.toFixed(0)} tok/s` : "",
    success === null ? "" : `${(success * 100).toFixed(0)} % success`,
    eta_secs === null ? "" : `${duration(eta_secs)} left`,
    failed.length ? `failed: ${failed.join(", ")}` : "",
    message,
  ].filter((part) => part !== "").join(" · ");
}

/** The rollouts in flight, one per line, in at most `room` lines; the rest as a count. */
export function inFlight({ rollouts, running }: ProgressSnapshot, room: number, width: number): string[] {
  const listed = rollouts.slice(0, running > room || rollouts.length > room ? Math.max(0, room - 1) : room);
  const others = running - listed.length;
  const lines = listed.map((rollout) => row(rollout, width));
  return others > 0 && room > 0 ? [...lines, `  and ${others} more in flight`] : lines;
}

const SECONDS_WIDTH = 8;

function row({ scenario, doing, server, tool, turns, seconds }: RunningRollout, width: number): string {
  const room = Math.max(3, width - SECONDS_WIDTH - 6);
  const first = Math.min(32, Math.floor(room * 0.4));
  const second = Math.min(20, Math.floor(room * 0.25));
  const third = Math.min(40, room - first - second);
  const [where, what] = {
    environment: ["", "starting servers"],
    model: ["model", `turn ${turns + 1}`],
    tool: [server, tool],
    observation: ["", "observed by judges"],
  }[doing];
  const cells = [cell(oneLine(scenario, WIDEST), first), cell(oneLine(where, WIDEST), second)];
  const spent = seconds < 100 ? `${seconds.toFixed(1)} s` : duration(seconds);
  return `  ${cells.join("  ")}  ${cell(oneLine(what, WIDEST), third)}${spent.padStart(SECONDS_WIDTH)}`;
}

/** Seconds as `m:ss` or `h:mm:ss`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (value: number) => String(value).padStart(2, "0");
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}
