/**
 * A program that answers one question: JSON on its stdin, JSON on its stdout. It is started without a shell, as the
 * leader of its own process group, with the small environment of `child_env.ts` and a HOME and TMPDIR of its own; all of
 * that is gone when it has answered, failed, taken too long or said too much.
 * @module
 */
import { mkdir, mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Buffer } from "node:buffer";
import { within } from "../common/deadline.ts";
import { removeFolder } from "../common/open_folder.ts";
import { redact } from "../common/redact.ts";
import { Semaphore } from "../common/semaphore.ts";
import { HoneError, messageOf, sizeOf } from "../diagnostics/mod.ts";
import type { Json } from "../events.ts";
import { killProcess, startProcess } from "../mcp/session/process.ts";
import { programEnv } from "./child_env.ts";

/** How the program is started. */
export interface OneShotOptions {
  /** Folder that it runs in, and that a relative path of it is resolved against. */
  cwd: string;
  timeout_secs: number;
  /** Programs that run at once; others wait. */
  at_once: number;
}

const MAX_OUTPUT_BYTES = 10_000_000;
const MAX_STDERR_CHARS = 10_000;
const SHOWN_CHARS = 200;

/** A program that is started for every question. */
export class OneShot {
  readonly #places: Semaphore;

  constructor(private readonly command: readonly string[], private readonly options: OneShotOptions) {
    this.#places = new Semaphore(options.at_once);
  }

  /** The program's answer. Throws an Error that says why there is none, or the signal's reason. */
  async ask(question: unknown, signal: AbortSignal): Promise<Json> {
    const text = JSON.stringify(question, (_, value) => ArrayBuffer.isView(value) ? [...value as Int32Array] : value);
    const { timeout_secs } = this.options;
    const said = await this.#places.use(() => within(timeout_secs, signal, (inner) => this.#run(text, inner)), signal);
    try {
      return JSON.parse(said);
    } catch {
      throw new Error(`it wrote no JSON: ${shown(said.trim())}`);
    }
  }

  async #run(question: string, signal: AbortSignal): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "hone-program-"));
    try {
      const dirs = { home: join(folder, "home"), tmp: join(folder, "tmp") };
      for (const dir of Object.values(dirs)) await mkdir(dir);
      return await this.#answer(question, programEnv(dirs), signal);
    } finally {
      await removeFolder(folder);
    }
  }

  async #answer(question: string, env: Record<string, string>, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const child = this.#start(env);
    const stopped = Promise.withResolvers<never>();
    const stop = () => stopped.reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    const last = lastLine(child.stderr);
    const asked = written(child.stdin, question);
    const output = textOf(child.stdout);
    let ending: Promise<void> | undefined;
    const end = () => ending ??= killProcess(child);
    const answered = async () => {
      // One that says too much is not waited for.
      const { code, signal: killed } = await Promise.race([child.status, output.then(() => child.status)]);
      // What it left running would hold its streams open.
      await end();
      if (code !== 0) throw new Error(`it ended with ${killed ?? `exit code ${code}`}${await last}`);
      return await output;
    };
    const work = answered();
    work.catch(() => {});
    try {
      return await Promise.race([work, stopped.promise]);
    } finally {
      signal.removeEventListener("abort", stop);
      await end();
      await Promise.allSettled([work, output, asked, last]);
    }
  }

  #start(env: Record<string, string>): Deno.ChildProcess {
    const [first, ...args] = this.command as [string, ...string[]];
    const { cwd } = this.options;
    try {
      return startProcess({ command: first.includes("/") ? resolve(cwd, first) : first, args, env, cwd });
    } catch (error) {
      throw error instanceof HoneError ? new Error(messageOf(error)) : error;
    }
  }
}

/** A program need not read all of its input, or any. */
async function written(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  await writer.write(new TextEncoder().encode(text)).catch(() => {});
  await writer.close().catch(() => {});
}

async function textOf(stdout: ReadableStream<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let held = 0;
  for await (const part of stdout) {
    held += part.length;
    if (held > MAX_OUTPUT_BYTES) throw new Error(`it wrote more than ${sizeOf(MAX_OUTPUT_BYTES)}`);
    parts.push(part);
  }
  return new TextDecoder().decode(Buffer.concat(parts, held));
}

/** The last line of stderr, to follow a sentence; empty if there is none. */
async function lastLine(stderr: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const part of stderr.pipeThrough(new TextDecoderStream())) text = (text + part).slice(-MAX_STDERR_CHARS);
  const line = text.trim().split("\n").at(-1)!.trim();
  return line === "" ? "" : `; its last line: ${shown(line)}`;
}

/** Redacted before it is cut: a secret that is cut no longer looks like one. */
function shown(text: string): string {
  const plain = redact(text);
  return JSON.stringify(plain.length > SHOWN_CHARS ? `${plain.slice(0, SHOWN_CHARS)}…` : plain);
}
