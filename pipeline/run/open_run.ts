/**
 * The online driver: one process, one pipeline, one run folder. Opens what a run needs, climbs the ladder, makes the
 * verdict, exports, and closes everything again, whatever happened. Errors are classified here, once, into
 * `stage.failed`; the folder stays resumable, or goes again where nothing is in it that is worth going on from.
 * @module
 */
import { mkdir, readdir, rm, rmdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Bus } from "../bus.ts";
import type { LoadedPipeline } from "../config/pipeline_file.ts";
import { checkJudges } from "../config/stage_graph.ts";
import { lockRun, serveControl } from "../store/live_run.ts";
import { control, counted, HoneError, runner as messages, store as store_messages } from "../diagnostics/mod.ts";
import type { Catalog, Envelope, EventMap, JsonObject, Scenario } from "../events.ts";
import { EnvironmentPool } from "../mcp/pool/pool.ts";
import type { Agent, OnlineTrainer } from "../plugin.ts";
import { redact } from "../common/redact.ts";
import { Store } from "../store/store.ts";
import { type Completed, completed, unfinished } from "../store/recorded.ts";
import { makeVerdict, type Verdict, writeReports } from "../verdict/mod.ts";
import { findTape, openTape, type TapeSource } from "../tape/mod.ts";
import { VERSION } from "../common/version.ts";
import { stageOf } from "./blame.ts";
import { emit, type RunContext } from "./context.ts";
import { climb, endpointContext, endpointPolicy, type LadderResult } from "./online/ladder.ts";
import { RunLog, warnLines } from "./progress/run_log.ts";
import { Progress, type ProgressSnapshot } from "./progress/progress.ts";
import { createRoles } from "./roles.ts";
import { collectScenarios, compareCatalog, recordCatalog } from "./opening.ts";
import { Semaphore } from "../common/semaphore.ts";
import { fitTools } from "./tool_lists.ts";

/** How a run is started. */
export interface RunOptions {
  /** Absolute folder of the run; made if absent. */
  run_dir: string;
  signal: AbortSignal;
  /** Continue what the folder holds. */
  resume?: boolean;
  /** With `resume`: go on with servers that have changed since the run began. */
  accept_changes?: boolean;
  /** The catalog that the measured policy was trained with; differences are recorded and noted in the verdict. */
  trained_with?: Catalog;
  on_event?: (event: Envelope) => void;
  /** Called at each new unit of work and message; `read` gives the reading of any moment. */
  on_progress?: (read: () => ProgressSnapshot) => void;
  on_log?: (level: "debug" | "info" | "warn", message: string) => void;
  /** What to do instead of climbing the ladder. */
  climb?: typeof climb;
}

/** How a run ended. */
export interface RunResult {
  status: EventMap["run.ended"]["status"];
  run_dir: string;
  /** False where a new run failed before its first rollout was finished: its folder is gone again. */
  kept: boolean;
  /** Set when the ladder was climbed, even where an exporter failed afterwards. */
  verdict?: Verdict;
  /** Set when `status` is `failed`. */
  error?: Error;
}

/** Why a run's own signal was aborted. */
class Stop extends Error {
  constructor(readonly status: "cancelled" | "paused") {
    super(status);
  }
}

/** Ends that say nothing against what the run was given: however early, the same run can go on. */
export const STOPPED = ["TRAINER_LOST", "WORKER_DIED", "STORE_WRITE_FAILED", "TAPE_WRITE_FAILED"];

/** Runs a pipeline to its verdict. Resolves with the status; throws only when it cannot start in the folder at all. */
export async function runPipeline(loaded: LoadedPipeline, options: RunOptions): Promise<RunResult> {
  const { run_dir, resume = false } = options;
  const trainer = loaded.stages.some(({ plugin }) => plugin.kind === "trainer");
  const source = await findTape(loaded.config, { run_dir, resumed: resume, trainer });
  const made = await mkdir(run_dir, { recursive: true });
  const folder = { kept: true };
  try {
    await using stack = new AsyncDisposableStack();
    stack.use(await lockRun(run_dir));
    if (!resume) {
      await mustBeEmpty(run_dir);
      folder.kept = false;
    }
    stack.defer(() => folder.kept ? undefined : empty(run_dir));
    const result = await runIn(loaded, options, stack, source);
    folder.kept ||= result.kept;
    return { ...result, kept: folder.kept };
  } finally {
    if (!folder.kept && made) await rmdir(run_dir);
  }
}

/** A new run takes no folder that holds anything: it would write over it. */
async function mustBeEmpty(run_dir: string): Promise<void> {
  const names = await entries(run_dir);
  if (names.includes("run.duckdb")) throw new HoneError(store_messages.exists(join(run_dir, "run.duckdb")));
  if (names.length > 0) throw new HoneError(control.folder_in_use(run_dir, names.sort()));
}

async function empty(run_dir: string): Promise<void> {
  for (const name of await entries(run_dir)) await rm(join(run_dir, name), { recursive: true, force: true });
}

/** What a folder holds beside locks. */
async function entries(run_dir: string): Promise<string[]> {
  return (await readdir(run_dir)).filter((name) => !name.startsWith("run.lock"));
}

async function runIn(
  loaded: LoadedPipeline,
  options: RunOptions,
  stack: AsyncDisposableStack,
  source: TapeSource | null,
): Promise<RunResult> {
  const { run_dir, resume: resumed = false } = options;
  const trainer = loaded.stages.some(({ plugin }) => plugin.kind === "trainer");
  await writeFile(join(run_dir, "pipeline.yaml"), loaded.resolved_yaml);
  const run_id = basename(run_dir);
  const store = stack.use(
    await Store.open(join(run_dir, "run.duckdb"), { run_id, mode: options.resume ? "resume" : "create" }),
  );
  const log = stack.use(new RunLog(join(run_dir, "run.log"), options.on_log));
  const bus = new Bus(run_id, store, store.next_seq);
  if (options.on_event) bus.onAny(options.on_event);
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const progress = new Progress(options.on_progress);
  stack.use(
    await serveControl({
      run_dir,
      store,
      bus,
      status: () => ({ ...progress.snapshot() }),
      on_pause: () => stop.abort(new Stop("paused")),
      on_cancel: () => stop.abort(new Stop("cancelled")),
    }),
  );
  const { config } = loaded;
  const pool = stack.use(
    new EnvironmentPool({
      servers: config.servers,
      run_dir,
      base_dir: loaded.base_dir,
      allow_writes: config.allow_writes,
      call_timeout_secs: config.agent.tool_timeout_secs,
      on_tools_changed: (server, { changes, schema_hash }) => {
        warnLines(log, messages.catalog_notified(server, changes));
        bus.emit("runner", "catalog.changed", { found: "notified", changes, schema_hash });
      },
      log,
      signal,
    }),
  );
  const tape = source && stack.use(
    await openTape({ source, config, run_dir, resumed, trainer, environments: pool, log, fail: stop.abort.bind(stop) }),
  );
  const roles = await createRoles(loaded, { log, signal, stack });
  const undecided = checkJudges(roles.judges);
  if (undecided.length > 0) throw new HoneError(undecided);
  for (const { role } of roles.exporters) if (role.on) bus.onAny(role.on);
  const ctx: RunContext = {
    config,
    run_id,
    run_dir,
    base_dir: loaded.base_dir,
    roles,
    bus,
    store,
    pool: tape?.environments ?? pool,
    tape,
    agent: agentOf(loaded),
    catalog: { servers: [], tools: [], schema_hash: "" },
    scenarios: [],
    trainer: null,
    context_tokens: 0,
    slots: new Semaphore(config.train.concurrency),
    signal,
    progress,
    log,
    resumed: options.resume ?? false,
    accept_changes: options.accept_changes ?? false,
    spent: { rollouts: 0, tokens: 0, seconds: 0 },
    deadline: Infinity,
  };
  return await toTheEnd(ctx, stop, stack, options);
}

async function toTheEnd(
  ctx: RunContext,
  stop: AbortController,
  stack: AsyncDisposableStack,
  options: RunOptions,
): Promise<RunResult> {
  const { run_dir } = ctx;
  let verdict: Verdict | undefined;
  try {
    const started = { name: ctx.config.name, seed: ctx.config.seed, hone_version: VERSION, resumed: ctx.resumed };
    await emit(ctx, "runner", "run.started", started);
    const done = await completed(ctx.store);
    const climbed = await work(ctx, stop, stack, done, options);
    ctx.progress.begin("verdict", 0);
    verdict = await makeVerdict({ store: ctx.store, config: ctx.config });
    // Before anything is exported, so that an exporter that fails costs nobody the figures.
    await writeReports(run_dir, ctx.store, verdict, { status: "running" });
    await exportAll(ctx, done, climbed, verdict);
    ctx.progress.end();
    await ended(ctx, "completed", verdict);
    return { status: "completed", run_dir, kept: true, verdict };
  } catch (thrown) {
    const reason = ctx.signal.aborted ? ctx.signal.reason : thrown;
    if (ctx.signal.aborted && !(reason instanceof HoneError)) {
      const status = reason instanceof Stop ? reason.status : "cancelled";
      await ended(ctx, status, verdict);
      return { status, run_dir, kept: true, verdict };
    }
    return await failed(ctx, reason, verdict);
  }
}

/** Records the end, and brings reports that are there already up to date. */
async function ended(ctx: RunContext, status: RunResult["status"], verdict?: Verdict) {
  await emit(ctx, "runner", "run.ended", { status, ...(verdict && { sentence: verdict.sentence }) });
  if (verdict) await writeReports(ctx.run_dir, ctx.store, verdict, { status });
}

async function failed(ctx: RunContext, reason: unknown, verdict?: Verdict): Promise<RunResult> {
  const error = reason instanceof Error ? reason : new Error(String(reason));
  const code = error instanceof HoneError ? error.code : "UNEXPECTED";
  const hint = error instanceof HoneError ? error.hint : undefined;
  // For run.log; whoever started the run is given the error itself.
  const origin = error.cause instanceof Error ? error.cause : error;
  ctx.log.debug(`${code}: ${origin instanceof HoneError ? origin.message : origin.stack ?? origin.message}`);
  let kept = true;
  try {
    const message = redact(error.message);
    await emit(ctx, "runner", "stage.failed", { stage: stageOf(error), code, message, hint });
    await ended(ctx, "failed", verdict);
    kept = STOPPED.includes(code) || (await completed(ctx.store)).spent.rollouts > 0;
  } catch (storeError) {
    ctx.log.warn(`the failure itself could not be recorded: ${storeError}`);
  }
  return { status: "failed", run_dir: ctx.run_dir, kept, error, verdict };
}

async function work(
  ctx: RunContext,
  stop: AbortController,
  stack: AsyncDisposableStack,
  done: Completed,
  options: RunOptions,
): Promise<LadderResult> {
  const { wall_clock_secs } = ctx.config.limits;
  ctx.spent = done.spent;
  if (wall_clock_secs) ctx.deadline = Date.now() + (wall_clock_secs - done.spent.seconds) * 1000;
  for (const rollout_id of await unfinished(ctx.store)) {
    await emit(ctx, "runner", "rollout.abandoned", { rollout_id, reason: "hone ended before it was finished" });
  }
  ctx.progress.begin("discover", Object.keys(ctx.config.servers).length);
  ctx.catalog = await discover(ctx);
  await recordCatalog(ctx, ctx.catalog, done);
  if (options.trained_with) await compareCatalog(ctx, options.trained_with);
  ctx.progress.begin("scenarios", 0);
  ctx.scenarios = await collectScenarios(ctx, done);
  ctx.log.info(`${counted(ctx.catalog.tools.length, "tool")}, ${describe(ctx.scenarios)}`);
  ctx.trainer = await openTrainer(ctx, done, stop);
  if (ctx.trainer) stack.use(ctx.trainer);
  ctx.context_tokens = await endpointContext(ctx);
  ctx.scenarios = await fitTools(ctx, ctx.trainer?.base ?? endpointPolicy(ctx));
  return await (options.climb ?? climb)(ctx, done);
}

/** Runs the exporters that an earlier start has not finished. */
async function exportAll(ctx: RunContext, done: Completed, { policy, checkpoint }: LadderResult, verdict: Verdict) {
  const { trainer } = ctx;
  if (!trainer) return;
  for (const { id, role } of ctx.roles.exporters.filter(({ id }) => !done.exports.has(id))) {
    ctx.progress.begin("export", 0);
    const { dir, proof } = await role.export({
      dir: join(ctx.run_dir, "adapter"),
      policy,
      agent: ctx.agent,
      catalog: ctx.catalog,
      verdict: JSON.parse(JSON.stringify(verdict)) as JsonObject,
      model: trainer.model,
      write_adapter: (target) => trainer.export(target, checkpoint ?? undefined),
    });
    await emit(ctx, id, "export.completed", { exporter: id, dir, proof });
  }
}

async function discover(ctx: RunContext): Promise<Catalog> {
  const servers = Object.entries(ctx.config.servers).map(([name, server]) => ({ name, ...server }));
  if (servers.length === 0 || !ctx.roles.discoverer) return { servers: [], tools: [], schema_hash: "" };
  return await ctx.roles.discoverer.role.discover(servers, (server) => ctx.pool.discover(server.name));
}

async function openTrainer(ctx: RunContext, done: Completed, stop: AbortController): Promise<OnlineTrainer | null> {
  if (!ctx.roles.trainer || !ctx.config.model) return null;
  ctx.progress.begin("open the model", 0);
  const trainer = await ctx.roles.trainer.role.open({
    model: ctx.config.model,
    agent: ctx.agent,
    seed: ctx.config.seed,
    run_dir: ctx.run_dir,
    concurrency: ctx.config.train.concurrency,
    resume_dir: done.checkpoint ?? undefined,
    resume_step: done.step || undefined,
    on_progress: (message) => ctx.progress.say(message),
  });
  trainer.lost?.then((error) => stop.abort(new HoneError(messages.trainer_lost(error.message), { cause: error })));
  return trainer;
}

function agentOf(loaded: LoadedPipeline): Agent {
  const { endpoint: _endpoint, examples, ...agent } = loaded.config.agent;
  return {
    ...agent,
    examples: examples.flatMap(({ user, assistant }) => [
      { role: "user" as const, content: user },
      { role: "assistant" as const, content: assistant },
    ]),
  };
}

function describe(scenarios: Scenario[]): string {
  const count = (split: string) => scenarios.filter((scenario) => scenario.split === split).length;
  return `scenarios: ${count("train")} train, ${count("validation")} validation, ${count("heldout")} held-out`;
}
