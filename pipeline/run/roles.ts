/**
 * Creates the roles of a pipeline from its stages: calls each plugin's `create` once and groups the results by kind.
 * `loadPipeline` has already checked that the kinds can be combined.
 * @module
 */
import type { LoadedPipeline, LoadedStage } from "../config/pipeline_file.ts";
import type { Kind, Log, Roles } from "../plugin.ts";
import { blamedService, blamedTrainer, blaming, blamingEach } from "./blame.ts";
import type { RunRoles, Staged } from "./context.ts";

/** Creates every stage's role; disposable roles are disposed with the stack. */
export async function createRoles(
  loaded: LoadedPipeline,
  { log, signal, stack }: { log: Log; signal: AbortSignal; stack: AsyncDisposableStack },
): Promise<RunRoles> {
  const made: { stage: LoadedStage; role: unknown }[] = [];
  for (const stage of loaded.stages) {
    const context = { config: stage.with, stage: stage.id, log: named(log, stage), signal, base_dir: loaded.base_dir };
    const role = await blaming(stage, () => stage.plugin.create(context));
    if (Symbol.asyncDispose in role && role[Symbol.asyncDispose]) stack.use(role as AsyncDisposable);
    made.push({ stage, role: blamed(stage, role) });
  }
  const of = <K extends Kind>(kind: K) =>
    made.filter(({ stage }) => stage.plugin.kind === kind).map(({ stage, role }) => ({
      stage,
      role: role as Roles[K],
    }));
  const all = <K extends Kind>(kind: K): Staged<Roles[K]>[] =>
    of(kind).map(({ stage: { id, use }, role }) => ({ id, use, role }));
  return {
    discoverer: all("discoverer")[0],
    sources: all("scenario-source"),
    rollout: all("rollout")[0]!,
    judges: of("judge").map(({ stage: { id, use, plugin, timeout_secs = JUDGE_SECS }, role }) => {
      const part = plugin.expects ? { judge: plugin.name, field: plugin.expects.field } : null;
      return { id, use, role, part, timeout_secs };
    }),
    shaper: all("reward-shaper")[0]!,
    trainer: all("trainer")[0],
    exporters: all("exporter"),
    trackers: all("tracker"),
  };
}

/** Time limit for a judge whose stage does not set `timeout_secs`. */
const JUDGE_SECS = 120;

/**
 * The role with its errors attributed to the stage, for roles whose errors fail the run. Errors of rollouts, judges and
 * reward shapers are data about one rollout and recorded with it; errors of trackers are logged.
 */
function blamed(stage: LoadedStage, role: Roles[Kind]): Roles[Kind] {
  if ("discover" in role) {
    return { discover: (servers, connect) => blaming(stage, () => role.discover(servers, connect)) };
  }
  if ("produce" in role) {
    return { produce: (catalog, parts) => blamingEach(stage, () => role.produce(catalog, parts)) };
  }
  if ("export" in role) return { export: (args) => blaming(stage, () => role.export(args)) };
  if (!("open" in role)) return role;
  return role.mode === "online"
    ? { mode: "online", open: (args) => blaming(stage, async () => blamedTrainer(stage, await role.open(args))) }
    : { mode: "hosted", open: (args) => blaming(stage, async () => blamedService(stage, await role.open(args))) };
}

function named(log: Log, stage: LoadedStage): Log {
  const prefix = (message: string) => `${stage.id}: ${message}`;
  return {
    debug: (message) => log.debug(prefix(message)),
    info: (message) => log.info(prefix(message)),
    warn: (message) => log.warn(prefix(message)),
  };
}
