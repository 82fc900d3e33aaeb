/**
 * The runner's boundary to plugins: plain errors that a role throws become HoneErrors that name the stage. HoneErrors
 * pass unchanged, with the stage noted.
 * @module
 */
import { HoneError, runner as messages } from "../diagnostics/mod.ts";
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

/** Runs a plugin's function; errors are attributed to the stage. */
export async function blaming<T>(stage: Blamed, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw attributed(stage, error);
  }
}

/** Delegates to a plugin's generator; errors are attributed to the stage. */
export async function* blamingEach<T, R>(
  stage: Blamed,
  values: () => AsyncIterable<T, R> | Iterable<T, R>,
): AsyncGenerator<T, R> {
  try {
    return yield* values();
  } catch (error) {
    throw attributed(stage, error);
  }
}

/** A trainer whose errors are attributed to the stage. */
export function blamedTrainer(stage: Blamed, trainer: OnlineTrainer): OnlineTrainer {
  return {
    base: trainer.base,
    model: trainer.model,
    lost: trainer.lost,
    demonstrate: (demonstrations) => blaming(stage, () => trainer.demonstrate(demonstrations)),
    supervise: (args) => blamingEach(stage, () => trainer.supervise(args)),
    step: (args) => blamingEach(stage, () => trainer.step(args)),
    publish: (args) => blaming(stage, () => trainer.publish(args)),
    save: (dir) => blaming(stage, () => trainer.save(dir)),
    weights: (args) => blaming(stage, () => trainer.weights(args)),
    [Symbol.asyncDispose]: () => Promise.resolve(trainer[Symbol.asyncDispose]()),
  };
}

/** The same for a hosted trainer. */
export function blamedService(stage: Blamed, trainer: HostedTrainer): HostedTrainer {
  return {
    base: trainer.base,
    model: trainer.model,
    submit: (args) => blaming(stage, () => trainer.submit(args)),
    watch: (job, signal) => blamingEach(stage, () => trainer.watch(job, signal)),
    pause: (job) => blaming(stage, () => trainer.pause(job)),
    resume: (job) => blaming(stage, () => trainer.resume(job)),
    checkpoints: (job) => blaming(stage, () => trainer.checkpoints(job)),
    policy: (args) => blaming(stage, () => trainer.policy(args)),
    ...(trainer[Symbol.asyncDispose] && {
      [Symbol.asyncDispose]: () => Promise.resolve(trainer[Symbol.asyncDispose]!()),
    }),
  };
}

function attributed({ id, use }: Blamed, thrown: unknown): Error {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const known = error instanceof HoneError
    ? error
    : new HoneError(messages.stage_failed(id, use, error.message, placeOf(error)), { cause: error });
  if (!stages.has(known)) stages.set(known, id);
  return known;
}

/** Where an error was thrown, from its stack. */
function placeOf({ stack = "" }: Error): string | undefined {
  return /^\s+at (.*)$/m.exec(stack)?.[1];
}
