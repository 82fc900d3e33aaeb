/**
 * Opens and closes a run: one process, one pipeline, one run folder. Opens the run's resources, binds the stages to the
 * bus, publishes `run.started` and waits until the bus is idle; then closes everything again, whatever happened. Errors
 * are classified here, once, into `stage.failed`. The folder remains resumable; that of a new run is deleted if no
 * rollout finished.
 * @module
 */
import { chmod, mkdir, mkdtemp, readdir, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Bus } from "../bus.ts";
import { cacheDir } from "../common/cache_dir.ts";
import { unlessAborted } from "../common/deadline.ts";
import { machine } from "../common/machine.ts";
import { redact } from "../common/redact.ts";
import { VERSION } from "../common/version.ts";
import { writeAside } from "../common/write_aside.ts";
import { judgedAlone, measuredAlone } from "../config/measured_alone.ts";
import type { LoadedPipeline } from "../config/pipeline_file.ts";
import { placed } from "../config/resolved_yaml.ts";
import { control, HoneError, messageOf, runner as messages, store as store_messages } from "../diagnostics/mod.ts";
import type { Envelope } from "../events.ts";
import { EnvironmentPool } from "../mcp/pool/pool.ts";
import { LlmClient, spentBefore } from "../llm/mod.ts";
import type { Agent } from "../plugin.ts";
import { observedCalls } from "../scenario/parts.ts";
import { lockRun, openRun } from "../store/live_run.ts";
import { completed, isRejudging, unfinished } from "../store/recorded.ts";
import { DATABASE, deleteOwn, recordedWeights, writeFacts } from "../store/run_folder.ts";
import { serveControl } from "../store/run_control.ts";
import { type Row, Store } from "../store/store.ts";
import { findTape, openTape, type TapeSource } from "../tape/mod.ts";
import { writeReports } from "../verdict/mod.ts";
import { bindAll, type Binding, flowOf, OPENING, REJUDGING } from "./bindings.ts";
import { stageOf } from "./blame.ts";
import type { Measured, Run } from "./context.ts";
import { asMessages } from "./policies.ts";
import { isCompleted, runSuites, verdictOf } from "./run_suites.ts";
import type { RunOptions, RunResult } from "./run_options.ts";
import { watchDisk } from "./disk_budget.ts";
import { keepSpeeds } from "./progress/earlier_speeds.ts";
import { Progress } from "./progress/progress.ts";
import { RunLog, warnLines } from "./progress/run_log.ts";
import { createRoles, disposed } from "./roles.ts";

export type { RunOptions, RunResult };

/** Reason for which a run's signal was aborted. */
class Stop extends Error {
  constructor(readonly status: "cancelled" | "paused") {
    super(status);
  }
}

/** Errors with causes outside the pipeline: however early they occur, the run can be resumed unchanged. */
export const STOPPED = ["DISK_LIMIT", "TRAINER_LOST", "WORKER_DIED", "STORE_WRITE_FAILED", "TAPE_WRITE_FAILED"];

/** Time limit for trackers to receive the last events before the run is closed. */
const TRACKERS_MS = 5000;
const GRACE_SECS = 30;

/**
 * Runs a pipeline to its verdict, then its suites. Resolves with the status; throws only if it cannot start in the folder.
 */
export async function runPipeline(loaded: LoadedPipeline, options: RunOptions): Promise<RunResult> {
  if (Object.keys(loaded.suites ?? {}).length === 0) return await runAlone(loaded, options);
  const { run_dir } = options;
  const { rejudging, measure } = options.resume ? await recordedPurpose(run_dir) : { rejudging: false };
  if (rejudging) return await runAlone(loaded, options);
  const result = options.resume && await isCompleted(run_dir)
    ? { status: "completed" as const, run_dir, kept: true, verdict: await verdictOf(loaded, run_dir) }
    : await runAlone(loaded, options);
  if (result.status !== "completed") return result;
  const measured = measure ?? (options.measure && [options.measure].flat());
  return await runSuites(result, { loaded, options, measured, run: runAlone });
}

/** Runs a pipeline without its suites. */
async function runAlone(loaded: LoadedPipeline, options: RunOptions): Promise<RunResult> {
  const { run_dir, resume = false } = options;
  const trainer = loaded.stages.some(({ plugin }) => plugin.kind === "trainer");
  const find = () => findTape(loaded.config, { run_dir, resumed: resume, trainer });
  const source = resume ? null : await find();
  await mkdir(dirname(run_dir), { recursive: true });
  const made = await mkdir(run_dir, { recursive: true, mode: 0o700 });
  const folder = { kept: true };
  try {
    await using stack = new AsyncDisposableStack();
    stack.use(await lockRun(run_dir));
    if (!resume) {
      await mustBeEmpty(run_dir);
      folder.kept = false;
      // Trajectories may be confidential.
      await chmod(run_dir, 0o700);
    }
    stack.defer(() => folder.kept ? undefined : deleteOwn(run_dir));
    const { rejudging, measure } = resume
      ? await lockedPurpose(run_dir)
      : { rejudging: false, measure: asRecorded(options, loaded.hosted) };
    const pipeline = rejudging
      ? judgedAlone(loaded)
      : measure
      ? measuredAlone(loaded, measure.map(({ policy }) => policy))
      : loaded;
    const run = rejudging
      ? await open(pipeline, options, stack, null, () => REJUDGING)
      : await open(pipeline, { ...options, measure }, stack, resume ? await find() : source);
    if (rejudging) run.scenarios = loaded.scenarios ?? [];
    const result = await toTheEnd(run, pipeline, options.grace_secs);
    folder.kept ||= result.kept;
    return { ...result, kept: folder.kept };
  } finally {
    // Not empty if somebody else put something there.
    if (!folder.kept && made) await rmdir(run_dir).catch(() => {});
  }
}

/**
 * Opens a pipeline as far as its scenarios (servers, discovery, scenario sources), without a tape, and does `work` with
 * it, such as trials. Nothing is kept: its folder is a temporary one. Throws what the run's stages or the work throw.
 */
export async function withScenarios<T>(
  loaded: LoadedPipeline,
  options: Pick<RunOptions, "signal" | "on_log" | "on_progress">,
  work: (run: Run) => Promise<T>,
): Promise<T> {
  await using stack = new AsyncDisposableStack();
  const run_dir = await mkdtemp(join(tmpdir(), "hone-scenarios-"));
  stack.defer(() => rm(run_dir, { recursive: true, force: true }));
  const run = await open(loaded, { ...options, run_dir }, stack, null, () => OPENING);
  const { name, seed } = loaded.config;
  try {
    await run.bus.publish("runner", "run.started", { name, seed, hone_version: VERSION, resumed: false });
    await unlessAborted(run.signal, run.bus.idle());
    run.signal.throwIfAborted();
    return await work(run);
  } catch (error) {
    run.stop(error instanceof Error ? error : new Error(String(error)));
    await Promise.race([run.bus.idle(), sleep(GRACE_SECS * 1000, undefined, { ref: false })]);
    throw run.failure ?? error;
  } finally {
    run.progress.end();
  }
}

/** What a folder's run does instead of the ladder: it judges a copy of a run again, or evaluates some policies. */
export async function recordedPurpose(run_dir: string): Promise<Purpose> {
  await using run = await openRun(run_dir);
  return await purposeIn(run);
}

interface Purpose {
  rejudging: boolean;
  measure?: Measured[];
}

async function purposeIn(store: { query(sql: string): Promise<Row[]> }): Promise<Purpose> {
  if (await isRejudging(store)) return { rejudging: true };
  const [first] = await store.query("SELECT payload FROM events WHERE type = 'run.started' ORDER BY seq LIMIT 1");
  // Was one policy, not a list, in earlier versions.
  const measure = typeof first?.payload === "string" ? [JSON.parse(first.payload).measured].flat() : undefined;
  return { rejudging: false, measure };
}

/** The same of a folder that this process has locked. */
async function lockedPurpose(run_dir: string): Promise<Purpose> {
  await using store = await Store.open(join(run_dir, DATABASE), { run_id: basename(run_dir), mode: "read" });
  return await purposeIn(store);
}

/** What a new run evaluates, with the path of its weights as it is recorded. */
function asRecorded({ measure, run_dir }: RunOptions, hosted: boolean): Measured[] | undefined {
  if (measure === undefined || hosted) return measure && [measure].flat();
  return [measure].flat().map(({ weights, ...one }) =>
    weights === undefined ? one : { ...one, weights: recordedWeights(run_dir, weights) }
  );
}

/** A new run requires an empty folder, so that it overwrites nothing. */
async function mustBeEmpty(run_dir: string): Promise<void> {
  const names = await entries(run_dir);
  if (names.includes(DATABASE)) throw new HoneError(store_messages.exists(join(run_dir, DATABASE)));
  if (names.length > 0) throw new HoneError(control.folder_in_use(run_dir, names.sort()));
}

/** The names in a folder, except for locks. */
async function entries(run_dir: string): Promise<string[]> {
  return (await readdir(run_dir)).filter((name) => !name.startsWith("run.lock"));
}

/** Opens the run's resources and binds its stages to the bus; the stack closes everything in reverse order. */
async function open(
  loaded: LoadedPipeline,
  options: RunOptions,
  stack: AsyncDisposableStack,
  source: TapeSource | null,
  bound: (flow: Binding[]) => Binding[] = (flow) => flow,
): Promise<Run> {
  const { run_dir, resume: resumed = false } = options;
  const { config, stages } = loaded;
  await writeAside(join(run_dir, "pipeline.yaml"), placed(loaded.resolved_yaml, run_dir));
  const mode = resumed ? "resume" : "create";
  const store = stack.use(await Store.open(join(run_dir, DATABASE), { run_id: basename(run_dir), mode }));
  const { run_id } = store;
  await writeFacts(run_dir, { run_id, name: config.name, started_at: new Date().toISOString() });
  const log = stack.use(new RunLog(join(run_dir, "run.log"), options.on_log));
  const stop = new AbortController();
  const fail = stop.abort.bind(stop);
  const signal = AbortSignal.any([options.signal, stop.signal]);
  const on_error = (error: unknown, { stage, event }: { stage: string; event: Envelope }) => {
    log.debug(`${stage} failed at ${event.type} #${event.seq} (source ${event.source}, cause #${event.cause ?? 0})`);
    run.failure ??= error;
    fail(error);
  };
  const bus = new Bus(run_id, store, { first_seq: store.next_seq, signal, on_error });
  if (options.on_event) bus.tap(options.on_event);
  const progress = new Progress(options.on_progress);
  const status = () => ({ ...progress.snapshot() });
  const [on_pause, on_cancel] = (["paused", "cancelled"] as const).map((how) => () => fail(new Stop(how)));
  stack.use(await serveControl({ run_dir, store, bus, status, on_pause: on_pause!, on_cancel: on_cancel! }));
  const pool = stack.use(openPool(loaded, options, { bus, log, signal }));
  stack.use(await watchDisk({ run_dir, limit_gb: config.limits.disk_gb, fail }));
  const trainer = stages.some(({ plugin }) => plugin.kind === "trainer");
  const tape = source &&
    stack.use(await openTape({ source, config, run_dir, resumed, trainer, environments: pool, log, fail }));
  const roles = await createRoles(loaded, { log, signal, stack });
  const environments = tape?.environments ?? pool;
  const llm = await openLlm(loaded, { store, bus, tape, log });
  const parts = { run_dir, roles, bus, store, environments, tape, llm, signal, progress, log, stop: fail };
  const run: Run = { ...parts, ...await atItsBeginning(loaded, options, store) };
  stack.defer(async () => {
    if (roles.trainer) await disposed(roles.trainer, run.online ?? run.hosted, log);
  });
  const kinds = new Set(stages.map(({ plugin }) => plugin.kind));
  await bindAll(run, bound(flowOf((kind) => kinds.has(kind), roles.trainer?.role.mode === "hosted")));
  return run;
}

/** The initial state of a run, including the records of earlier starts. */
async function atItsBeginning(loaded: LoadedPipeline, options: RunOptions, store: Store) {
  const { config } = loaded;
  const { wall_clock_secs } = config.limits;
  const recorded = await completed(store);
  return {
    config,
    base_dir: loaded.base_dir,
    parts: loaded.parts,
    agent: agentOf(loaded),
    catalog: { servers: [], tools: [], schema_hash: "" },
    scenarios: [],
    online: null,
    hosted: null,
    policies: new Map(),
    prompts: new Map(),
    groups: new Map(),
    recorded,
    resumed: options.resume ?? false,
    accept_changes: options.accept_changes ?? false,
    trained_with: options.trained_with,
    measured: options.measure && [options.measure].flat(),
    draw: null,
    longest_step_secs: 0,
    supervised_steps: recorded.supervised_steps,
    to_export: { policy: "base", checkpoint: "" },
    pinned: {},
    measuring_secs: [...recorded.evaluation_secs.values()].reduce((sum, secs) => sum + secs, 0),
    spent: recorded.spent,
    deadline: wall_clock_secs ? Date.now() + (wall_clock_secs - recorded.spent.seconds) * 1000 : Infinity,
  };
}

function openPool(
  { config, base_dir, parts }: LoadedPipeline,
  { run_dir }: RunOptions,
  { bus, log, signal }: Pick<Run, "bus" | "log" | "signal">,
): EnvironmentPool {
  return new EnvironmentPool({
    servers: config.servers,
    run_dir,
    base_dir,
    allow_writes: config.allow_writes,
    call_timeout_secs: config.agent.tool_timeout_secs,
    observed_calls: (scenario) => observedCalls(scenario, parts),
    on_tools_changed: (server, { changes, schema_hash }) => {
      warnLines(log, messages.catalog_notified(server, changes));
      void bus.publish("runner", "catalog.changed", { found: "notified", changes, schema_hash });
    },
    log,
    signal,
  });
}

async function openLlm(
  { config: { limits } }: LoadedPipeline,
  { store, bus, tape, log }: Pick<Run, "store" | "bus" | "tape" | "log">,
): Promise<Run["llm"]> {
  const client = new LlmClient({
    record: (call, cause) => bus.publish(call.stage, "llm.called", call, cause),
    limits: { calls: limits.llm_calls, tokens: limits.llm_tokens, usd: limits.usd },
    spent: await spentBefore(store),
    cache_dir: cacheDir(),
    tape,
    log,
  });
  return (stage, signal, cause) => client.for(stage, signal, cause);
}

/** Starts the run and waits until the bus is idle: the run then has its verdict, was stopped, or failed. */
async function toTheEnd(
  run: Run,
  { config: { name, seed } }: LoadedPipeline,
  grace_secs = GRACE_SECS,
): Promise<RunResult> {
  const { bus, signal, run_dir } = run;
  try {
    for (const rollout_id of await unfinished(run.store)) {
      await bus.publish("runner", "rollout.abandoned", { rollout_id, reason: "hone exited before it finished" });
    }
    await bus.publish("runner", "run.started", {
      name,
      seed,
      hone_version: VERSION,
      resumed: run.resumed,
      machine: machine(),
      ...(run.measured && { measured: run.measured }),
    });
    await unlessAborted(signal, bus.idle());
    signal.throwIfAborted();
    if (!run.verdict) throw new Error("the run became idle before its verdict");
    run.progress.end();
    await keepSpeeds(run, cacheDir());
    await ended(run, "completed");
    return { status: "completed", run_dir, kept: true, verdict: run.verdict };
  } catch (thrown) {
    // The signal ends handlers; their resources are closed after them.
    await Promise.race([bus.idle(), sleep(grace_secs * 1000, undefined, { ref: false })]);
    const reason = run.failure ?? (signal.aborted ? signal.reason : thrown);
    if (run.failure || !signal.aborted || reason instanceof HoneError) return await failed(run, reason);
    const status = reason instanceof Stop ? reason.status : "interrupted";
    await ended(run, status);
    return { status, run_dir, kept: true, verdict: run.verdict };
  } finally {
    await Promise.race([bus.seen(), sleep(TRACKERS_MS, undefined, { ref: false })]);
    for (const { name, events } of bus.missed()) run.log.warn(`${name} was too slow and missed ${events} events`);
  }
}

/** Records the end, and updates existing reports. */
async function ended({ bus, verdict, run_dir, store }: Run, status: RunResult["status"]) {
  await bus.publish("runner", "run.ended", { status, ...(verdict && { sentence: verdict.sentence }) });
  if (verdict) await writeReports(run_dir, store, verdict, { status });
}

async function failed(run: Run, reason: unknown): Promise<RunResult> {
  const error = reason instanceof Error ? reason : new Error(String(reason));
  const code = error instanceof HoneError ? error.code : "UNEXPECTED";
  const hint = error instanceof HoneError ? error.hint : undefined;
  // For run.log; the caller gets the error itself.
  const origin = error.cause instanceof Error ? error.cause : error;
  run.log.debug(`${code}: ${origin instanceof HoneError ? origin.message : origin.stack ?? origin.message}`);
  let kept = true;
  try {
    const message = redact(error.message);
    await run.bus.publish("runner", "stage.failed", { stage: stageOf(error), code, message, hint });
    await ended(run, "failed");
    kept = STOPPED.includes(code) || (await completed(run.store)).spent.rollouts > 0;
  } catch (storeError) {
    run.log.warn(`the failure could not be recorded: ${messageOf(storeError)}`);
  }
  return { status: "failed", run_dir: run.run_dir, kept, error, verdict: run.verdict };
}

function agentOf(loaded: LoadedPipeline): Agent {
  const { endpoint: _endpoint, examples, ...agent } = loaded.config.agent;
  return {
    ...agent,
    examples: asMessages(examples),
  };
}
