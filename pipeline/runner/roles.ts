/**
 * Makes the roles of a pipeline from its stages: calls each plugin's `create` once and sorts the results by kind.
 * The graph checks of `loadPipeline` have already seen that the kinds can run together.
 * @module
 */
import type { LoadedPipeline, LoadedStage } from "../config.ts";
import type { Kind, Log, Roles } from "../plugin.ts";
import type { RunRoles, Staged } from "./context.ts";

/** Creates every stage's role; those that can be disposed are, when the stack is. */
export async function createRoles(
  loaded: LoadedPipeline,
  { log, signal, stack }: { log: Log; signal: AbortSignal; stack: AsyncDisposableStack },
): Promise<RunRoles> {
  const made: { kind: Kind; id: string; role: unknown }[] = [];
  for (const stage of loaded.stages) {
    const role = await stage.plugin.create({
      config: stage.with,
      stage: stage.id,
      log: named(log, stage),
      signal,
      base_dir: loaded.base_dir,
    });
    if (Symbol.asyncDispose in role && role[Symbol.asyncDispose]) stack.use(role as AsyncDisposable);
    made.push({ kind: stage.plugin.kind, id: stage.id, role });
  }
  const all = <K extends Kind>(kind: K) =>
    made.filter((one) => one.kind === kind).map(({ id, role }) => ({ id, role: role as Roles[K] }));
  const first = <K extends Kind>(kind: K): Staged<Roles[K]> | undefined => all(kind)[0];
  return {
    discoverer: first("discoverer"),
    sources: all("scenario-source"),
    rollout: first("rollout")!,
    judges: all("judge"),
    shaper: first("reward-shaper")!,
    trainer: first("trainer"),
    exporters: all("exporter"),
  };
}

function named(log: Log, stage: LoadedStage): Log {
  const prefix = (message: string) => `${stage.id}: ${message}`;
  return {
    debug: (message) => log.debug(prefix(message)),
    info: (message) => log.info(prefix(message)),
    warn: (message) => log.warn(prefix(message)),
  };
}
