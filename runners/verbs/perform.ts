/**
 * Runs a loaded pipeline for a person: progress on stderr, the verdict on stdout, an exit code at the end. What `run`,
 * `resume` and `evaluate` share.
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { createInterface } from "node:readline/promises";
import process from "node:process";
import { cacheDir } from "../../pipeline/common/cache_dir.ts";
import type { LoadedPipeline } from "../../pipeline/config/pipeline_file.ts";
import { cli, HoneError, render } from "../../pipeline/diagnostics/mod.ts";
import { redact } from "../../pipeline/common/redact.ts";
import type { RunOptions, RunResult } from "../../pipeline/run/open_run.ts";
import { runPipeline, STOPPED } from "../../pipeline/run/open_run.ts";
import { isTerminal } from "../cli/live_frame.ts";
import { ProgressView } from "../cli/progress_view.ts";

/** How to run. */
export interface PerformOptions {
  run_dir: string;
  resume: boolean;
  accept_changes?: boolean;
  verbose: boolean;
  yes: boolean;
  format: string;
  signal: AbortSignal;
  out: (text: string) => void;
  err: (text: string) => void;
}

/** Runs to the end and says how it ended. */
export async function perform(loaded: LoadedPipeline, options: PerformOptions): Promise<number> {
  const { run_dir, resume, accept_changes, signal } = options;
  const result = await attended(
    loaded,
    options,
    (hooks) => runPipeline(loaded, { run_dir, resume, accept_changes, signal, ...hooks }),
  );
  return conclude(result, options);
}

/** Asks for consent, then runs `work` with its progress shown. */
export async function attended(
  loaded: LoadedPipeline,
  options: PerformOptions,
  work: (hooks: Pick<RunOptions, "on_progress" | "on_log">) => Promise<RunResult>,
): Promise<RunResult> {
  await consent(loaded, options);
  const view = new ProgressView({
    live: isTerminal(process.stderr),
    write: (text) => void process.stderr.write(text),
  });
  try {
    return await work({
      on_progress: (read) => view.update(read),
      on_log: (level, message) => (level !== "debug" || options.verbose) && view.line(message),
    });
  } finally {
    view[Symbol.dispose]();
  }
}

/** Says how a run ended that has no verdict to print, or that has; returns the exit code. */
export function conclude(
  result: RunResult,
  { out, err, format, resumable = true }: PerformOptions & { resumable?: boolean },
): number {
  const { status, error, verdict, run_dir, kept } = result;
  const dir = relative(Deno.cwd(), run_dir) || ".";
  if (format === "json") out(JSON.stringify({ ...result, error: error && redact(error.message) }));
  else if (verdict) out(`${verdict.sentence}\n${dir}/report.html`);
  if (status === "completed") return 0;
  if (error) err(redact(render(error instanceof HoneError ? error.diagnostics : [cli.unexpected(error)], "text")));
  const code = error instanceof HoneError ? error.code : undefined;
  const same = status !== "failed" || (code !== undefined && RESUMABLE.has(code));
  if (!kept) err("failed before the first rollout was finished: nothing is kept; mend it and run it again");
  else if (!resumable) err(`${status}: ${dir}`);
  else if (same) err(`${status}: \`hone resume ${dir}\` goes on from here`);
  else err(`failed: mend it (the run reads ${dir}/pipeline.yaml), then \`hone resume ${dir}\` goes on from here`);
  if (status === "cancelled") return 130;
  if (kept && same) return 3;
  return code === "STAGE_FAILED" ? 4 : 1;
}

/** Failures that say nothing against the pipeline: the same run can go on once they are mended. */
const RESUMABLE = new Set([
  ...STOPPED,
  "CATALOG_CHANGED",
  "NO_NETWORK",
  "NO_SPACE",
  "NO_VALID_REWARD",
]);

/** Shows the commands that a pipeline starts before its first run; asks where somebody can answer. */
async function consent(loaded: LoadedPipeline, { yes, err, signal }: PerformOptions) {
  const { servers, tape } = loaded.config;
  const started = tape.mode === "replay" && tape.on_miss === "fail" ? {} : servers;
  const commands = Object.entries(started).flatMap(([name, server]) =>
    "command" in server ? [`  ${name}: ${[server.command, ...server.args].join(" ")}`] : []
  );
  const plugins = loaded.stages.filter(({ use }) => /^(\.|\/|exec:|npm:)/.test(use)).map(({ use }) =>
    `  plugin: ${use}`
  );
  const shown = redact([...commands, ...plugins].join("\n"));
  if (shown === "") return;
  const known = join(
    cacheDir(),
    "consent",
    createHash("sha256").update(loaded.base_dir + shown).digest("hex").slice(0, 24),
  );
  if (existsSync(known)) return;
  err(`${relative(Deno.cwd(), loaded.path)} starts these programs on this machine:\n${shown}`);
  if (!yes && process.stdin.isTTY) {
    // Not a raw terminal: Ctrl-C must stay a signal, which ends the question.
    const ask = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
    const answer = await ask.question("run them? [y/N] ", { signal });
    ask.close();
    if (!/^y(es)?$/i.test(answer.trim())) throw new HoneError(cli.not_consented());
  }
  await mkdir(join(cacheDir(), "consent"), { recursive: true });
  await writeFile(known, shown);
}
