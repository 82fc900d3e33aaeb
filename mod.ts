/**
 * The public API of hone, for plugins and for programs that embed hone.
 * Run as a program (`deno run -A mod.ts pipeline.yaml`) it is the command line.
 * @module
 */
import type { LoadedPipeline, LoadOptions } from "./pipeline/config/pipeline_file.ts";
import type { RunOptions, RunResult } from "./pipeline/run/open_run.ts";
import type { RunClient } from "./pipeline/store/live_run.ts";

export { HoneError, trackers } from "./pipeline/diagnostics/mod.ts";
export { definePlugin } from "./pipeline/plugin.ts";
export * from "./pipeline/chat/mod.ts";
export { readScenarios } from "./pipeline/scenario/read_scenarios.ts";
export { digest } from "./pipeline/common/digest.ts";
export { hash32, shuffled, stream } from "./pipeline/common/random.ts";
export { failedJudgement } from "./pipeline/kinds/judgements.ts";
export { schemaMisfit } from "./pipeline/common/schema_check.ts";
export { readReply } from "./pipeline/llm/reply_json.ts";
export { matchSet, mismatch, sameValue, setProblem, wantsValue, WAYS } from "./pipeline/scenario/match.ts";
export { joinCatalogs } from "./pipeline/mcp/catalog/catalog.ts";
export type * from "./pipeline/plugin.ts";
export type * from "./pipeline/events.ts";
export type * from "./pipeline/verdict/verdict_types.ts";
export type { LoadedPipeline, LoadOptions, RunClient, RunOptions, RunResult };
export { readText } from "./pipeline/common/read_text.ts";
export { writeAside } from "./pipeline/common/write_aside.ts";
export { protectHeaders, redact } from "./pipeline/common/redact.ts";
export { type FileQuery, queryFile } from "./pipeline/sql/query_file.ts";
export { type QueryAnswer } from "./pipeline/sql/query_answer.ts";
export { readTree, treeOf } from "./pipeline/common/folder_tree.ts";
export type { Tree, TreeEntry, TreeLimits } from "./pipeline/common/folder_tree.ts";
export { cacheDir } from "./pipeline/common/cache_dir.ts";
export { OneShot, type OneShotOptions } from "./pipeline/program/one_shot.ts";
export { Worker } from "./pipeline/program/worker.ts";
export { ensureWorkerEnv } from "./pipeline/program/worker_env.ts";
export { ensureVllmEnv } from "./pipeline/program/vllm_env.ts";

/** Loads a pipeline file with the built-in plugins. Throws a HoneError with all its problems. */
export async function loadPipeline(path: string, options: Partial<LoadOptions> = {}): Promise<LoadedPipeline> {
  const { loadPipeline } = await import("./pipeline/config/pipeline_file.ts");
  const { builtins } = await import("./plugins/mod.ts");
  return await loadPipeline(path, { builtins, ...options });
}

/** Runs a pipeline to its verdict. Resolves with the status; throws only if it cannot start in the folder. */
export async function runPipeline(loaded: LoadedPipeline, options: RunOptions): Promise<RunResult> {
  const { runPipeline } = await import("./pipeline/run/open_run.ts");
  return await runPipeline(loaded, options);
}

/** Opens a run for reading: through its process while the run is live, otherwise from its file. */
export async function openRun(run_dir: string): Promise<RunClient> {
  const { openRun } = await import("./pipeline/store/live_run.ts");
  return await openRun(run_dir);
}

if (import.meta.main) {
  // Not awaited: plugins import this module, which would be a deadlock.
  import("./runners/cli/command_line.ts").then(({ main }) => main(Deno.args)).then(Deno.exit);
}
