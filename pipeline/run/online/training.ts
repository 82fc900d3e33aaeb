/**
 * One optimiser step, from batch file to published record: the part that the supervised warm start and the RL rung
 * share. `train.stepped` is emitted only after adapter, optimiser and random state are on disk.
 * @module
 */
import { join } from "node:path";
import { mkdir, readdir, rm } from "node:fs/promises";
import { type BatchRow, writeBatch } from "../../store/batch_file.ts";
import type { StepReport } from "../../events.ts";
import type { OnlineTrainer, Policy } from "../../plugin.ts";
import { emit, type RunContext } from "../context.ts";

/** Where training stands: global optimiser steps taken, and the checkpoint that holds them. */
export interface TrainingState {
  step: number;
  checkpoint: string | null;
}

/** Writes the batch, takes the step, saves, publishes the record. Returns the report. */
export async function takeStep(
  ctx: RunContext,
  trainer: OnlineTrainer,
  state: TrainingState,
  args: {
    kind: "supervised" | "rl";
    rows: BatchRow[];
    dropped: Record<string, number>;
    learning_rate: number;
    metrics?: Record<string, number>;
  },
): Promise<StepReport> {
  const step = state.step + 1;
  const name = `${args.kind}-${String(step).padStart(5, "0")}`;
  const batch = join(ctx.run_dir, "batches", `${name}.jsonl`);
  await mkdir(join(ctx.run_dir, "batches"), { recursive: true });
  await writeBatch(batch, args.rows);
  const { kind, dropped } = args;
  await emit(ctx, "runner", "batch.ready", { step, kind, path: batch, rows: args.rows.length, dropped });
  const report = args.rows.length === 0 ? emptyReport(step, kind) : await drain(ctx, trainer, { ...args, step, batch });
  const checkpoint = args.rows.length === 0 && state.checkpoint
    ? state.checkpoint
    : (await trainer.save(join(ctx.run_dir, "checkpoints", name))).dir;
  const metrics = { ...report.metrics, ...args.metrics };
  await emit(ctx, ctx.roles.trainer!.id, "train.stepped", { ...report, metrics, checkpoint });
  await rm(batch, { force: true });
  state.step = step;
  state.checkpoint = checkpoint;
  return { ...report, metrics };
}

async function drain(
  ctx: RunContext,
  trainer: OnlineTrainer,
  args: { kind: "supervised" | "rl"; step: number; batch: string; learning_rate: number },
): Promise<StepReport> {
  const { step, batch, learning_rate } = args;
  const steps = args.kind === "supervised"
    ? trainer.supervise({ step, batch, learning_rate })
    : trainer.step({ step, batch, learning_rate, loss: ctx.config.train.loss });
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return value;
    await ctx.bus.emit(ctx.roles.trainer!.id, "metric.recorded", { ...value, step }).ordered;
  }
}

function emptyReport(step: number, kind: "supervised" | "rl"): StepReport {
  return { step, kind, loss: 0, metrics: { rows: 0 }, seconds: 0 };
}

/** Publishes the trainer's current weights (or a checkpoint's) as a policy and records it. */
export async function publish(
  ctx: RunContext,
  trainer: OnlineTrainer,
  args: { name: string; version: number; checkpoint: string; restore?: boolean },
): Promise<Policy> {
  const { name, version, checkpoint } = args;
  const policy = await trainer.publish({ name, version, dir: args.restore ? checkpoint : undefined });
  await emit(ctx, ctx.roles.trainer!.id, "policy.published", { name, version, model: policy.model, checkpoint });
  return policy;
}

/** Deletes checkpoints that neither resume nor the verdict can need. */
export async function prune(ctx: RunContext, keep: (string | null)[]) {
  const folder = join(ctx.run_dir, "checkpoints");
  const kept = new Set(keep);
  for (const name of await readdir(folder)) {
    const dir = join(folder, name);
    if (!kept.has(dir)) await rm(dir, { recursive: true, force: true });
  }
}
