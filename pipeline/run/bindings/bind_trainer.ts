/**
 * batch.ready → trainer → train.stepped, and policy.published if the step produces a policy; policy.requested → trainer
 * → policy.published, from a checkpoint. `train.stepped` is published only after adapter, optimiser and random state
 * are on disk; the batch's file is kept until then.
 * @module
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Out } from "../../bus.ts";
import type { Batch, EventMap, StepReport } from "../../events.ts";
import type { Checkpoint } from "../../plugin.ts";
import type { Bound } from "../bindings.ts";
import { pruneCheckpoints } from "../../store/run_folder.ts";
import { checkpointOf, type Run } from "../context.ts";
import { publishPolicy } from "../policies.ts";

/** Binds an online trainer. */
export function bind(run: Run): Bound[] {
  let checkpoint = run.recorded.checkpoint;
  return [{
    stage: run.roles.trainer!.id,
    on: {
      "batch.ready": async ({ data }, out) => {
        const report = await takeStep(run, data, out);
        const name = `${data.kind}-${String(data.step).padStart(5, "0")}`;
        // A step without rows changes nothing: its checkpoint is the previous one.
        if (data.rows > 0 || checkpoint === null) {
          await run.online!.save(join(run.run_dir, "checkpoints", name));
          checkpoint = name;
        }
        const metrics = { ...report.metrics, ...data.metrics };
        await out.publish("train.stepped", { ...report, metrics, checkpoint, staleness: data.staleness });
        await rm(join(run.run_dir, data.path), { force: true });
        tell(run, data, report);
        if (data.publish_as) await publish(run, { ...data.publish_as, checkpoint }, out);
        if (data.kind === "rl") await prune(run, checkpoint);
      },
      "policy.requested": ({ data }, out) => publish(run, data, out, checkpointOf(run, data.checkpoint)),
    },
  }];
}

/** Publishes the current weights, or those of a checkpoint, as a policy. */
function publish(run: Run, policy: EventMap["policy.requested"], out: Out, checkpoint?: Checkpoint) {
  if (policy.name === "warm_start") run.pinned.warm_start = policy.checkpoint;
  const { name, version } = policy;
  return publishPolicy(run, policy, out, () => run.online!.publish({ name, version, checkpoint }));
}

async function takeStep(run: Run, batch: Batch, { publish }: Out): Promise<StepReport> {
  const { step, kind, rows, learning_rate } = batch;
  const path = join(run.run_dir, batch.path);
  if (rows === 0) return { step, kind, loss: 0, metrics: { rows: 0 }, seconds: 0 };
  const steps = kind === "supervised"
    ? run.online!.supervise({ step, batch: path, learning_rate })
    : run.online!.step({ step, batch: path, learning_rate, loss: run.config.train.loss });
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return value;
    await publish("metric.recorded", { ...value, step, kind });
  }
}

function tell({ progress, log, supervised_steps, config: { train } }: Run, batch: Batch, report: StepReport) {
  progress.stepped();
  const loss = report.metrics.rows === 0 ? "none" : report.loss.toFixed(4);
  const secs = report.seconds.toFixed(1);
  if (batch.kind === "supervised") {
    progress.advance();
    return log.info(`warm start ${batch.step}/${supervised_steps}: loss ${loss}, ${secs} s`);
  }
  const { reward_mean = 0, success_rate = 0, invalid_call_rate = 0 } = batch.metrics;
  const { too_small = 0 } = batch.dropped;
  const small = too_small > 0 ? `groups with too few valid rewards ${too_small}, ` : "";
  log.info(
    `step ${batch.step - supervised_steps}/${train.steps}: reward ${reward_mean.toFixed(3)}, ` +
      `success ${success_rate.toFixed(2)}, invalid calls ${invalid_call_rate.toFixed(2)}, ` +
      `equal groups ${batch.dropped.zero_variance}, ${small}rows ${batch.rows}, loss ${loss}, train ${secs} s`,
  );
}

/** Deletes checkpoints that neither resume nor the verdict needs. */
function prune({ run_dir, pinned }: Run, latest: string): Promise<void> {
  return pruneCheckpoints(run_dir, [latest, pinned.warm_start, ...pinned.validated ?? []]);
}
