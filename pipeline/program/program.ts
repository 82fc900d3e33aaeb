/**
 * A child process that speaks JSON lines: calls, answers, and calls back while a call is open. It leads its own process
 * group, which ends with it: on dispose, on abort, or when it dies by itself.
 * @module
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import process from "node:process";
import { LineSplitter } from "../common/bounded_lines.ts";
import { messageOf } from "../diagnostics/mod.ts";

/** What the program may call while it answers. */
export type Callbacks = Record<string, (...params: unknown[]) => Promise<unknown>>;

interface Open {
  resolve(value: unknown): void;
  reject(error: Error): void;
  callbacks: Callbacks;
}

/** What a program says when a call fails. */
interface ProgramFailure {
  code?: string;
  message?: string;
  hint?: string;
}

/** A call that the program itself refused; `code` and `hint` are its own. */
export class ProgramError extends Error {
  readonly code?: string;
  readonly hint?: string;

  constructor({ code, message, hint }: ProgramFailure) {
    super(message ?? "it gave no reason");
    this.code = code;
    this.hint = hint;
  }
}

/** How a program is started. */
export interface ProgramOptions {
  cwd: string;
  /** The whole environment of the program. */
  env: Record<string, string>;
  signal?: AbortSignal;
  /** Receives its stderr, line by line. */
  log?: (line: string) => void;
  on_event?: (event: ProgramEvent) => void;
}

/** An event that the program sends unasked. */
export type ProgramEvent = { event: string; message?: string } & Record<string, unknown>;

type Line =
  | ProgramEvent
  | { id: number; result?: unknown; error?: ProgramFailure }
  | { call: string; of: number; id: string; params?: unknown[] };

const GRACE_MS = 2_000;
const STDERR_CHARS = 2_000;
/** Of one message: a worker's answers hold token ids, never weights. */
const MAX_LINE_BYTES = 64_000_000;
/** Longer lines of stderr are cut. */
const MAX_LOG_BYTES = 10_000;

/** A running program. Calls reject with a plain Error that ends with the end of the program's stderr. */
export class Program implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #open = new Map<number, Open>();
  readonly #exited: Promise<unknown>;
  readonly #kill = () => this.#signal("SIGKILL");
  readonly #abort?: AbortSignal;
  readonly #on_event?: (event: ProgramEvent) => void;
  readonly #gone = Promise.withResolvers<Error>();
  /** Resolves with the cause when the program has exited for any reason. */
  readonly lost: Promise<Error> = this.#gone.promise;
  #ids = 0;
  #stderr = "";
  #lost: Error | undefined;

  constructor(command: string[], options: ProgramOptions) {
    const { cwd, env } = options;
    this.#child = spawn(command[0]!, command.slice(1), { cwd, env, detached: true });
    this.#on_event = options.on_event;
    this.#exited = new Promise((resolve) => this.#child.once("close", resolve).once("error", resolve));
    this.#child.once("error", (error) => this.#lose(error.message));
    this.#child.once("close", (code, signal) => this.#lose(`it ended with ${signal ?? `exit code ${code}`}`));
    this.#child.stdin.on("error", () => {}); // a dead reader is reported by its exit
    const stdout = new LineSplitter(MAX_LINE_BYTES);
    this.#child.stdout.on("data", (chunk: Uint8Array) => this.#heard(stdout.add(chunk)));
    this.#child.stdout.on("end", () => this.#heard([stdout.rest() ?? []].flat()));
    const stderr = new LineSplitter(MAX_LOG_BYTES, { cut: true });
    this.#child.stderr.on("data", (chunk: Uint8Array) => {
      for (const line of stderr.add(chunk)) this.#noted(line, options.log);
    });
    this.#child.stderr.on("end", () => {
      const line = stderr.rest();
      if (line !== undefined) this.#noted(line, options.log);
    });
    this.#abort = options.signal;
    if (this.#abort?.aborted) this.#kill();
    this.#abort?.addEventListener("abort", this.#kill);
  }

  /** Calls a method; `callbacks` are what the program may call until it has answered. */
  async call(method: string, params: Record<string, unknown>, callbacks: Callbacks = {}): Promise<unknown> {
    if (this.#lost) throw this.#lost;
    const id = this.#ids++;
    const answer = new Promise((resolve, reject) => this.#open.set(id, { resolve, reject, callbacks }));
    this.#write({ v: 1, id, method, params });
    return await answer;
  }

  /** Closes its stdin, waits a moment, then ends what is left of its process group. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort?.removeEventListener("abort", this.#kill);
    this.#child.stdin.end();
    const timer = setTimeout(this.#kill, GRACE_MS);
    await this.#exited;
    clearTimeout(timer);
    this.#kill();
  }

  #write(message: unknown): void {
    const line = JSON.stringify(
      message,
      (_, value) => ArrayBuffer.isView(value) ? Array.from(value as Int32Array) : value,
    );
    this.#child.stdin.write(line + "\n");
  }

  #heard(lines: Iterable<string>): void {
    if (this.#lost) return;
    try {
      for (const line of lines) this.#read(line);
    } catch (error) {
      this.#lose(messageOf(error));
    }
  }

  #noted(line: string, log?: (line: string) => void): void {
    this.#stderr = (this.#stderr + line + "\n").slice(-STDERR_CHARS);
    log?.(line);
  }

  #read(text: string): void {
    let line: Line;
    try {
      line = JSON.parse(text);
    } catch {
      return this.#lose(`it wrote a line that is not JSON: ${text.slice(0, 80)}`);
    }
    if (typeof line !== "object" || line === null) {
      return this.#lose(`it wrote a line that is no JSON object: ${text.slice(0, 80)}`);
    }
    if ("event" in line) return this.#on_event?.(line);
    if ("call" in line) {
      void this.#answer(line);
      return;
    }
    const open = this.#open.get(line.id);
    this.#open.delete(line.id);
    if (line.error) open?.reject(new ProgramError(line.error));
    else open?.resolve(line.result);
  }

  async #answer({ call, of, id, params = [] }: Extract<Line, { call: string }>): Promise<void> {
    try {
      const callback = this.#open.get(of)?.callbacks[call];
      if (!callback) throw new Error(`nothing named ${call} can be called during call ${of}`);
      this.#write({ return: id, result: await callback(...params) ?? null });
    } catch (error) {
      this.#write({ return: id, error: { message: (error as Error).message } });
    }
  }

  #lose(cause: string): void {
    const words = this.#stderr.trim();
    this.#lost ??= new Error(words ? `${cause}; its last words: ${words}` : cause);
    for (const open of this.#open.values()) open.reject(this.#lost);
    this.#open.clear();
    this.#gone.resolve(this.#lost);
    this.#kill();
  }

  #signal(name: "SIGKILL"): void {
    if (this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, name);
    } catch {
      this.#child.kill(name); // no group any more, or a system without groups
    }
  }
}
