/**
 * The public surface of hone: what a plugin or a program that embeds hone may import.
 * Run as a program (`deno run -A mod.ts pipeline.yaml`) it is the command line.
 * @module
 */
export { definePlugin } from "./pipeline/plugin.ts";
export * from "./pipeline/chat/mod.ts";
export { readScenarios } from "./pipeline/scenario/read_scenarios.ts";
export { mismatch, sameValue, wantsValue } from "./pipeline/scenario/match.ts";
export { joinCatalogs } from "./pipeline/mcp/catalog/catalog.ts";
export type * from "./pipeline/plugin.ts";
export type * from "./pipeline/events.ts";
export { cacheDir } from "./pipeline/common/cache_dir.ts";
export { Worker } from "./pipeline/program/worker.ts";
export { ensureWorkerEnv } from "./pipeline/program/worker_env.ts";

if (import.meta.main) {
  // Not awaited: plugins import this module, and would wait for it while it waits for them.
  import("./runners/cli/command_line.ts").then(({ main }) => main(Deno.args)).then(Deno.exit);
}
