/**
 * The public surface of hone: what a plugin or a program that embeds hone may import.
 * Run as a program (`deno run -A mod.ts pipeline.yaml`) it is the command line.
 * @module
 */
import type { LoadedPipeline, LoadOptions } from "./pipeline/config/pipeline_file.ts";
import type { RunOptions, RunResult } from "./pipeline/run/open_run.ts";
import type { RunClient } from "./pipeline/store/live_run.ts";

export { HoneError } from "./pipeline/diagnostics/mod.ts";
export { definePlugin } from "./pipeline/plugin.ts";
export * from "./pipeline/chat/mod.ts";
export { readScenarios } from "./pipeline/scenario/read_scenarios.ts";
export { mismatch, sameValue, wantsValue } from "./pipeline/scenario/match.ts";
export { joinCatalogs } from "./pipeline/mcp/catalog/catalog.ts";
export type * from "./pipeline/plugin.ts";
export type * from "./pipeline/events.ts";
export type * from "./pipeline/verdict/verdict_types.ts";
export type { LoadedPipeline, LoadOptions, RunClient, RunOptions, RunResult };
export { cacheDir } from "./pipeline/common/cache_dir.ts";
export { Worker } from "./pipeline/program/worker.ts";
export { ensureWorkerEnv } from "./pipeline/program/worker_env.ts";

/** Reads a pipeline file with hone's own plugins at hand. Throws a HoneError with all that is wrong with it. */
export async function loadPipeline(path: string, options: Partial<LoadOptions> = {}): Promise<LoadedPipeline> {
  const { loadPipeline } = await import("./pipeline/config/pipeline_file.ts");
  const { builtins } = await import("./plugins/mod.ts");
  return await loadPipeline(path, { builtins, ...options });
}

/** Runs a pipeline to its verdict. Resolves with the status; throws only when it cannot start in the folder at all. */
export async function runPipeline(loaded: LoadedPipeline, options: RunOptions): Promise<RunResult> {
  const { runPipeline } = await import("./pipeline/run/open_run.ts");
  return await runPipeline(loaded, options);
}

/** Opens a run folder to be read: through its process while one works on it, the file itself otherwise. */
export async function openRun(run_dir: string): Promise<RunClient> {
  const { openRun } = await import("./pipeline/store/live_run.ts");
  return await openRun(run_dir);
}

if (import.meta.main) {
  // Not awaited: plugins import this module, and would wait for it while it waits for them.
  import("./runners/cli/command_line.ts").then(({ main }) => main(Deno.args)).then(Deno.exit);
}
