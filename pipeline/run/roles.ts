/**
 * Creates the roles of a pipeline from its stages: calls each plugin's `create` once and groups the results by kind.
 * `loadPipeline` has already checked that the kinds can be combined.
 * @module
 */
import type { LoadedPipeline, LoadedStage } from "../config/pipeline_file.ts";
import type { Kind, Log, Roles } from "../plugin.ts";
import { mustHave } from "../kinds/kind.ts";
import { limited } from "../common/deadline.ts";
import { messageOf } from "../diagnostics/mod.ts";
import { type Blamed, blamedService, blamedTrainer, blaming, blamingEach } from "./blame.ts";
import type { RunRoles, Staged } from "./context.ts";
import { definitionOf } from "./made_by.ts";

/** Creates every stage's role; disposable roles are disposed with the stack. */
export async function createRoles(
  loaded: LoadedPipeline,
  { log, signal, stack }: { log: Log; signal: AbortSignal; stack: AsyncDisposableStack },
): Promise<RunRoles> {
  const made: { stage: LoadedStage; role: unknown }[] = [];
  for (const stage of loaded.stages) {
    const context = { config: stage.with, stage: stage.id, log: named(log, stage), signal, base_dir: loaded.base_dir };
    const role = await blaming(stage, () => stage.plugin.create(context));
    stack.defer(() => disposed(stage, role, log));
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
    judges: await Promise.all(
      of("judge").map(async ({ stage, role }) => {
        const { plugin, timeout_secs = JUDGE_SECS } = stage;
        const part = plugin.expects ? { judge: plugin.name, field: plugin.expects.field } : null;
        return { ...await withDefinition({ stage, role }, loaded.base_dir), part, timeout_secs };
      }),
    ),
    shaper: await withDefinition(of("reward-shaper")[0]!, loaded.base_dir),
    trainer: all("trainer")[0],
    exporters: all("exporter"),
    trackers: all("tracker"),
  };
}

async function withDefinition<R>(
  { stage, role }: { stage: LoadedStage; role: R },
  base_dir: string,
): Promise<Staged<R>> {
  return { id: stage.id, use: stage.use, role, definition: await definitionOf(stage, base_dir) };
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
    return {
      produce: (catalog, parts, tools) =>
        blamingEach(stage, () => role.produce(catalog, parts, tools), { each: checkedScenario }),
    };
  }
  if ("export" in role) return { export: (args) => blaming(stage, () => role.export(args), checkedExport) };
  if (!("open" in role)) return role;
  return role.mode === "online"
    ? { mode: "online", open: (args) => blaming(stage, async () => blamedTrainer(stage, await role.open(args))) }
    : { mode: "hosted", open: (args) => blaming(stage, async () => blamedService(stage, await role.open(args))) };
}

const SPLITS = ["train", "validation", "heldout"];

function checkedScenario(value: unknown): void {
  const scenario = mustHave(value, "a scenario", { id: "string", task: "string", tags: "array", checks: "array" });
  if (!SPLITS.includes(String(scenario.split))) {
    throw new Error(
      `scenario ${scenario.id} has split ${JSON.stringify(scenario.split)}: expected ${SPLITS.join(", ")}`,
    );
  }
}

function checkedExport<T>(value: T): T {
  mustHave(value, "what an exporter returns", { dir: "string", proof: "object" });
  return value;
}

/** Time that a role has to dispose of itself. */
const DISPOSE_SECS = 30;

/** Disposes of what a plugin made. A failure is logged: the run's result stands. */
export async function disposed({ id, use }: Blamed, made: unknown, log: Log): Promise<void> {
  const dispose = (made as Partial<AsyncDisposable> | null)?.[Symbol.asyncDispose];
  if (!dispose) return;
  try {
    await limited(DISPOSE_SECS, new AbortController().signal, async () => await dispose.call(made));
  } catch (error) {
    log.warn(`stage ${id} (${use}) could not be closed: ${messageOf(error)}`);
  }
}

function named(log: Log, stage: LoadedStage): Log {
  const prefix = (message: string) => `${stage.id}: ${message}`;
  return {
    debug: (message) => log.debug(prefix(message)),
    info: (message) => log.info(prefix(message)),
    warn: (message) => log.warn(prefix(message)),
  };
}
