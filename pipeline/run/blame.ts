/**
 * The runner's boundary to plugins: plain errors that a role throws become HoneErrors that name the stage. HoneErrors
 * pass unchanged, with the stage noted.
 * @module
 */
import {
  type Diagnostic,
  diagnosticsOf,
  HoneError,
  messageWithoutStack,
  placeOf,
  runner as messages,
} from "../diagnostics/mod.ts";
import {
  checkedCheckpoint,
  checkedJob,
  checkedMetric,
  checkedPolicy,
  checkedReport,
  checkedStep,
} from "../kinds/trainer_results.ts";
import type { HostedTrainer, OnlineTrainer } from "../plugin.ts";

/** The parts of a stage that messages show. */
export interface Blamed {
  id: string;
  use: string;
}

/** Stage by error, for `stage.failed`. */
const stages = new WeakMap<Error, string>();

/** The stage that an error came from, or `runner`. */
export function stageOf(error: Error): string {
  return stages.get(error) ?? "runner";
}

/** Runs a plugin's function; errors, those of `check` among them, are attributed to the stage. */
export async function blaming<T>(
  stage: Blamed,
  work: () => T | Promise<T>,
  check: (value: T) => T = (value) => value,
): Promise<T> {
  try {
    return check(await work());
  } catch (error) {
    throw attributed(stage, error);
  }
}

/** How the values and the result of a generator are checked. */
interface Checks<T, R> {
  each?: (value: T) => unknown;
  result?: (value: R) => unknown;
}

/** Delegates to a plugin's generator; errors, those of the checks among them, are attributed to the stage. */
export async function* blamingEach<T, R>(
  stage: Blamed,
  values: () => AsyncGenerator<T, R> | AsyncIterable<T, R> | Iterable<T, R>,
  { each, result }: Checks<T, R> = {},
): AsyncGenerator<T, R> {
  try {
    const returned = yield* checkedEach(values(), each);
    result?.(returned);
    return returned;
  } catch (error) {
    throw attributed(stage, error);
  }
}

async function* checkedEach<T, R>(
  values: AsyncIterable<T, R> | Iterable<T, R>,
  each: (value: T) => unknown = () => {},
): AsyncGenerator<T, R> {
  const iterator = Symbol.asyncIterator in values ? values[Symbol.asyncIterator]() : values[Symbol.iterator]();
  let open = true;
  try {
    for (;;) {
      const { done, value } = await iterator.next();
      if (done) {
        open = false;
        return value;
      }
      each(value);
      yield value;
    }
  } finally {
    if (open) await iterator.return?.();
  }
}

/** A trainer whose results are checked, and whose errors are attributed to the stage. */
export function blamedTrainer(stage: Blamed, trainer: OnlineTrainer): OnlineTrainer {
  checkedPolicy(trainer?.base);
  const steps = (step: number) => ({ each: checkedMetric, result: (report: unknown) => checkedReport(report, step) });
  return {
    base: trainer.base,
    model: trainer.model,
    lost: trainer.lost,
    demonstrate: (demonstrations) => blaming(stage, () => trainer.demonstrate(demonstrations)),
    supervise: (args) => blamingEach(stage, () => trainer.supervise(args), steps(args.step)),
    step: (args) => blamingEach(stage, () => trainer.step(args), steps(args.step)),
    publish: (args) => blaming(stage, () => trainer.publish(args), checkedPolicy),
    save: (dir) => blaming(stage, () => trainer.save(dir)),
    weights: (args) => blaming(stage, () => trainer.weights(args)),
    [Symbol.asyncDispose]: () => Promise.resolve(trainer[Symbol.asyncDispose]()),
  };
}

/** The same for a hosted trainer. */
export function blamedService(stage: Blamed, trainer: HostedTrainer): HostedTrainer {
  checkedPolicy(trainer?.base);
  const checks = { each: checkedStep, result: checkedCheckpoint };
  return {
    base: trainer.base,
    model: trainer.model,
    submit: (args) => blaming(stage, () => trainer.submit(args), checkedJob),
    watch: (job, signal) => blamingEach(stage, () => trainer.watch(job, signal), checks),
    pause: (job) => blaming(stage, () => trainer.pause(job)),
    resume: (job) => blaming(stage, () => trainer.resume(job)),
    checkpoints: (job) => blaming(stage, () => trainer.checkpoints(job)),
    policy: (args) => blaming(stage, () => trainer.policy(args), checkedPolicy),
    ...(trainer[Symbol.asyncDispose] && {
      [Symbol.asyncDispose]: () => Promise.resolve(trainer[Symbol.asyncDispose]!()),
    }),
  };
}

function attributed({ id, use }: Blamed, thrown: unknown): Error {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const known = error instanceof HoneError ? error : new HoneError(failureOf(id, use, error), { cause: error });
  if (!stages.has(known)) stages.set(known, id);
  return known;
}

/** A full disk or a missing file says enough; of anything else, the place helps its author. */
function failureOf(id: string, use: string, error: Error): Diagnostic {
  const [{ code, message, hint }] = diagnosticsOf(error) as [Diagnostic];
  if (code === "SYSTEM_ERROR") return { ...messages.stage_failed(id, use, message, undefined), ...(hint && { hint }) };
  return messages.stage_failed(id, use, messageWithoutStack(error), placeOf(error));
}
