/**
 * The public surface of hone: what a plugin or a program that embeds hone may import.
 * Run as a program (`deno run -A mod.ts pipeline.yaml`) it is the command line.
 * @module
 */
export { definePlugin } from "./pipeline/plugin.ts";
export * from "./pipeline/chat/mod.ts";
export { readScenarios } from "./pipeline/scenarios.ts";
export { mismatch, sameValue, wantsValue } from "./pipeline/match.ts";
export { joinCatalogs } from "./pipeline/mcp/catalog.ts";
export type * from "./pipeline/plugin.ts";
export type * from "./pipeline/events.ts";
export { cacheDir } from "./pipeline/cache.ts";
export { Worker } from "./pipeline/worker.ts";
export { ensureWorkerEnv } from "./pipeline/worker_env.ts";

if (import.meta.main) {
  // Not awaited: plugins import this module, and would wait for it while it waits for them.
  import("./runners/cli/main.ts").then(({ main }) => main(Deno.args)).then(Deno.exit);
}
