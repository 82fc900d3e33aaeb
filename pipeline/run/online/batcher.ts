/**
 * group.rewarded … → batch.ready: the groups of a training step, in the order of their requests, become one batch of
 * rows with advantages; the demonstrations of the warm start, once all are replayed, become the batches of its epochs.
 * Batches are published in the order of steps, whatever the order in which groups finish. Groups whose rewards are all
 * equal may be replaced (`replacements.requested`) before their step is complete.
 * @module
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Out } from "../../bus.ts";
import type { Batch } from "../../events.ts";
import { type BatchRow, writeBatch } from "../../store/batch_file.ts";
import type { Bound } from "../bindings.ts";
import type { Group, Run } from "../context.ts";
import { GiveUp } from "./give_up.ts";
import { replacements } from "./replacement.ts";
import { firstVersion, trainedSteps } from "./sampler.ts";
import { stepBatch } from "./step_batch.ts";
import { demonstrated, supervisedBatches } from "./warm_start.ts";

/** A step of RL whose groups come in. */
interface Step {
  groups: Group[];
  /** Number of groups that were requested. */
  wanted: number;
}

/** Binds the batcher. */
export function bind(run: Run): Bound[] {
  const steps = new Map<number, Step>();
  const demonstrations: Group[] = [];
  const give_up = new GiveUp(run);
  let [wanted, next]: (number | undefined)[] = [];
  return [{
    stage: "batcher",
    on: {
      "group.rewarded": async ({ data: { group_id, purpose, step } }, out) => {
        if (purpose === "evaluation") return;
        const group = run.groups.get(group_id)!;
        run.groups.delete(group_id);
        if (purpose === "demonstration") {
          demonstrations.push(group);
          wanted ??= demonstrated(run).length;
          if (demonstrations.length === wanted) await warmStart(run, inOrder(demonstrations.splice(0)), out);
          return;
        }
        const open = steps.get(step) ?? { groups: [], wanted: run.config.train.groups_per_step };
        steps.set(step, open);
        open.groups.push(group);
        await replace(run, step, open, out);
        next ??= trainedSteps(run) + 1;
        for (; isComplete(steps.get(next)); next++) {
          await batch(run, next, inOrder(steps.get(next)!.groups), give_up, out);
          steps.delete(next);
        }
      },
    },
  }];
}

function isComplete(step: Step | undefined): boolean {
  return step !== undefined && step.groups.length === step.wanted;
}

/** Requests groups in place of those without a learning signal, once all of the step's groups so far are in. */
async function replace(run: Run, step: number, open: Step, { publish }: Out) {
  if (!isComplete(open) || run.config.train.replace_equal_groups === 0) return;
  const scenario_ids = await replacements(run, step, inOrder(open.groups));
  if (scenario_ids.length === 0) return;
  const index = open.wanted;
  open.wanted += scenario_ids.length;
  await publish("replacements.requested", { step, index, scenario_ids });
}

function inOrder(groups: Group[]): Group[] {
  return groups.toSorted((a, b) => a.request.index - b.request.index);
}

/** Publishes the supervised batches that are not trained on yet. */
async function warmStart(run: Run, groups: Group[], { publish }: Out) {
  const batches = await supervisedBatches(run, groups);
  const { step: done, checkpoint } = run.recorded;
  run.supervised_steps = batches.length;
  const policy = { name: run.config.ladder.includes("rl") ? "warm_start" : "tuned", version: 1 };
  run.progress.begin("warm start", batches.length);
  // All steps were trained when the run was stopped, but the policy was not published yet.
  if (done >= batches.length) return await publish("policy.requested", { ...policy, checkpoint: checkpoint! });
  const { learning_rate } = run.config.warm_start;
  for (const [index, rows] of batches.entries()) {
    const step = index + 1;
    if (step <= done) {
      run.progress.advance();
      continue;
    }
    const settings = { step, kind: "supervised", learning_rate, dropped: {}, metrics: {}, staleness: 0 } as const;
    const publish_as = step === batches.length ? { publish_as: policy } : {};
    await publish("batch.ready", { ...settings, ...await written(run, "supervised", step, rows), ...publish_as });
  }
}

/** Publishes the batch of an RL step. */
async function batch(run: Run, rl_step: number, groups: Group[], give_up: GiveUp, { publish }: Out) {
  const { train } = run.config;
  const judged = groups.map(({ judged }) => judged!);
  const { rows, dropped, metrics } = stepBatch(run, judged);
  await give_up.check(rl_step, judged, metrics);
  const step = run.supervised_steps + rl_step;
  for (const [name, value] of Object.entries(metrics)) {
    await publish("metric.recorded", { name, value, step, kind: "rl" });
  }
  const version = firstVersion(run) + rl_step - 1;
  const staleness = Math.max(0, ...rows.map(({ policy_version }) => version - policy_version));
  const learning_rate = learningRate(train, rl_step - 1);
  await publish("batch.ready", {
    ...await written(run, "rl", step, rows),
    step,
    kind: "rl",
    dropped,
    learning_rate,
    metrics,
    staleness,
    publish_as: { name: `step-${rl_step}`, version: version + 1 },
  });
}

async function written(run: Run, kind: Batch["kind"], step: number, rows: BatchRow[]) {
  const path = `batches/${kind}-${String(step).padStart(5, "0")}.jsonl`;
  await mkdir(join(run.run_dir, "batches"), { recursive: true });
  await writeBatch(join(run.run_dir, path), rows);
  return { path, rows: rows.length };
}

/** The learning rate of step `k`, counted from 0. */
export function learningRate(train: Run["config"]["train"], k: number): number {
  return train.learning_rate * (train.learning_rate_decay === "linear" ? 1 - k / train.steps : 1);
}
