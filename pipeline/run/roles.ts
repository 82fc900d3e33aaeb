/**
 * Makes the roles of a pipeline from its stages: calls each plugin's `create` once and sorts the results by kind.
 * The graph checks of `loadPipeline` have already seen that the kinds can run together.
 * @module
 */
import type { LoadedPipeline, LoadedStage } from "../config/pipeline_file.ts";
import type { Kind, Log, Roles } from "../plugin.ts";
import { blamedTrainer, blaming, blamingEach } from "./blame.ts";
import type { RunRoles, Staged } from "./context.ts";

/** Creates every stage's role; those that can be disposed are, when the stack is. */
export async function createRoles(
  loaded: LoadedPipeline,
  { log, signal, stack }: { log: Log; signal: AbortSignal; stack: AsyncDisposableStack },
): Promise<RunRoles> {
  const made: { kind: Kind; id: string; role: unknown }[] = [];
  for (const stage of loaded.stages) {
    const context = { config: stage.with, stage: stage.id, log: named(log, stage), signal, base_dir: loaded.base_dir };
    const role = await blaming(stage, () => stage.plugin.create(context));
    if (Symbol.asyncDispose in role && role[Symbol.asyncDispose]) stack.use(role as AsyncDisposable);
    made.push({ kind: stage.plugin.kind, id: stage.id, role: blamed(stage, role) });
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

/**
 * The role with its errors attributed to the stage, where an error ends the run. What rollouts, judges and shapers throw
 * is data about one rollout, and recorded there.
 */
function blamed(stage: LoadedStage, role: Roles[Kind]): Roles[Kind] {
  if ("discover" in role) {
    return { discover: (servers, connect) => blaming(stage, () => role.discover(servers, connect)) };
  }
  if ("produce" in role) return { produce: (catalog) => blamingEach(stage, () => role.produce(catalog)) };
  if ("open" in role) {
    return { mode: role.mode, open: (args) => blaming(stage, async () => blamedTrainer(stage, await role.open(args))) };
  }
  if ("export" in role) {
    return { ...(role.on && { on: role.on.bind(role) }), export: (args) => blaming(stage, () => role.export(args)) };
  }
  return role;
}

function named(log: Log, stage: LoadedStage): Log {
  const prefix = (message: string) => `${stage.id}: ${message}`;
  return {
    debug: (message) => log.debug(prefix(message)),
    info: (message) => log.info(prefix(message)),
    warn: (message) => log.warn(prefix(message)),
  };
}
