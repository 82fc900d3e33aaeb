/**
 * The programs that a run of a pipeline starts on this machine, in words.
 * @module
 */
import type { LoadedPipeline } from "../../pipeline/config/pipeline_file.ts";

/** One line each: servers' commands, plugins from files and packages, and what built-in plugins start. */
export function programsOf({ config: { servers, tape }, stages }: LoadedPipeline): string[] {
  const started = tape.mode === "replay" && tape.on_miss === "fail" ? {} : servers;
  const commands = Object.entries(started).flatMap(([name, server]) =>
    "command" in server ? [`${name}: ${[server.command, ...server.args].join(" ")}`] : []
  );
  const plugins = stages.filter(({ use }) => /^(\.|\/|exec:|npm:)/.test(use)).map(({ use }) => `plugin: ${use}`);
  const own = stages.flatMap(({ use, plugin: { starts } }) => starts ? [`${use}: ${starts}`] : []);
  return [...commands, ...plugins, ...own];
}
