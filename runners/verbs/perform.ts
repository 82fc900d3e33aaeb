/**
 * Runs a loaded pipeline: passes progress and log to the caller, and reports how the run ended.
 * Shared by `run`, `resume` and `evaluate`.
 * @module
 */
import { existsSync } from "node:fs";
import { relative } from "node:path";
import type { LoadedPipeline } from "../../pipeline/config/pipeline_file.ts";
import { diagnosticsOf, HoneError, render } from "../../pipeline/diagnostics/mod.ts";
import { redact } from "../../pipeline/common/redact.ts";
import { type RunOptions, runPipeline, type RunResult, STOPPED } from "../../pipeline/run/open_run.ts";
import type { Ended } from "./ended.ts";
import type { Caller, VerbCall } from "./verb.ts";

/** A call of any of these verbs. */
type Performing = VerbCall<{ verbose: boolean }>;

/** Runs the pipeline; resolves with how it ended. */
export async function perform(
  loaded: LoadedPipeline,
  call: Performing,
  options: Pick<RunOptions, "run_dir" | "resume" | "accept_changes">,
): Promise<Ended> {
  const { signal, caller } = call;
  const result = await withProgress(call, (hooks) => runPipeline(loaded, { ...options, signal, ...hooks }));
  return conclude(result, caller);
}

/** Does `work`, passing its progress and log to the caller. */
export async function withProgress(
  { args: { verbose }, caller }: Performing,
  work: (hooks: Pick<RunOptions, "on_progress" | "on_log">) => Promise<RunResult>,
): Promise<RunResult> {
  return await work({
    on_progress: (read) => caller.progress(read),
    on_log: (level, message) => (level !== "debug" || verbose) && caller.log(level, message),
  });
}

/** Reports what went wrong and what to do next. */
export function conclude(result: RunResult, caller: Caller, { resumable = true } = {}): Ended {
  const { status, error, run_dir, kept } = result;
  const code = error instanceof HoneError ? error.code : undefined;
  const same = status !== "failed" || (code !== undefined && RESUMABLE.has(code));
  const told = { ...result, error: error && redact(error.message) };
  if (status === "completed") return { ...told, exit: 0 };
  const dir = relative(Deno.cwd(), run_dir) || ".";
  if (error) {
    caller.note(redact(render(diagnosticsOf(error), "text")));
  }
  if (!kept) {
    const left = existsSync(run_dir) ? "its records were deleted" : "the run folder was deleted";
    caller.note(`failed before the first rollout finished; ${left}: fix the cause and run it again`);
  } else if (!resumable) caller.note(`${status}: ${dir}`);
  else if (same) caller.note(`${status}: \`hone resume ${dir}\` continues the run`);
  else {
    caller.note(
      `failed: fix the cause (the run reads ${dir}/pipeline.yaml), then \`hone resume ${dir}\` continues the run`,
    );
  }
  const exit = status === "interrupted" || status === "cancelled"
    ? 130
    : kept && same
    ? 3
    : code === "STAGE_FAILED"
    ? 4
    : 1;
  return { ...told, exit };
}

/** Failures with causes outside the pipeline: the run can be resumed unchanged. */
const RESUMABLE = new Set([
  ...STOPPED,
  "CATALOG_CHANGED",
  "NO_NETWORK",
  "NO_SPACE",
  "MOSTLY_INVALID",
  "NO_VALID_REWARD",
]);
