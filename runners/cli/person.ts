/**
 * The caller on the command line: a person who sees progress, lines and events as they arrive, and can be asked.
 * @module
 */
import type { Envelope, EventName } from "../../pipeline/events.ts";
import type { ProgressSnapshot } from "../../pipeline/run/progress/progress.ts";
import type { Caller, Verb } from "../verbs/verb.ts";
import { eventLine } from "./event_line.ts";
import { openInBrowser } from "./open_browser.ts";
import { ProgressView } from "./progress_view.ts";
import type { Terminal } from "./terminal.ts";

/** Events shown as lines above the progress of a followed run. */
const MILESTONES = new Set<EventName>([
  "rung.started",
  "train.stepped",
  "evaluation.completed",
  "stage.failed",
  "run.ended",
]);

/** Shows output until it is disposed. */
export class Person implements Caller, Disposable {
  readonly loads_code = "approved";
  #view: ProgressView | null = null;
  #terminal: Terminal;
  #format: string;
  #streams: boolean;
  #signal: AbortSignal;

  constructor(terminal: Terminal, { streams }: Pick<Verb, "streams">, format: string, signal: AbortSignal) {
    this.#terminal = terminal;
    this.#format = format;
    this.#streams = streams === true;
    this.#signal = signal;
  }

  note(text: string) {
    this[Symbol.dispose]();
    this.#terminal.err(text);
  }

  progress(read: () => ProgressSnapshot) {
    // If the result itself is a stream of lines, no progress is shown.
    const beside = !this.#streams || (this.#format === "text" && this.#terminal.live("stdout"));
    if (beside) this.#shown().update(read);
  }

  log(_level: string, line: string) {
    this.#shown().line(line);
  }

  event(event: Envelope) {
    if (this.#format === "json") this.#terminal.out(JSON.stringify(event));
    else if (!this.#view) this.#terminal.out(eventLine(event));
    else if (MILESTONES.has(event.type)) this.#view.line(eventLine(event));
  }

  async confirm(question: string, shown: string): Promise<boolean | null> {
    this.note(shown);
    const answer = await this.#terminal.ask(`${question} [y/N] `, this.#signal);
    return answer === null ? null : /^y(es)?$/i.test(answer.trim());
  }

  within(path: string): Promise<string> {
    return Promise.resolve(path);
  }

  async open(file: string) {
    const failure = await openInBrowser(file);
    if (failure) this.note(failure);
  }

  /** Removes the progress from the screen. */
  [Symbol.dispose]() {
    this.#view?.[Symbol.dispose]();
    this.#view = null;
  }

  #shown(): ProgressView {
    const stream = this.#streams ? "stdout" : "stderr";
    return this.#view ??= new ProgressView({
      live: this.#terminal.live(stream),
      write: (text) => this.#terminal.draw(stream, text),
    });
  }
}
