/**
 * dataset.ready → hosted trainer → job.submitted, train.stepped …, rung.completed; policy.requested → policy.published.
 * A run has one job: a recorded job is followed, not submitted again. Whenever the run ends before its job, the job is
 * paused, so that it incurs no cost until the run is resumed.
 * @module
 */
import { basename, join } from "node:path";
import { limited, timerMs, untilAborted } from "../../common/deadline.ts";
import { messageOf } from "../../diagnostics/mod.ts";
import type { Out } from "../../bus.ts";
import type { EventMap } from "../../events.ts";
import type { Job } from "../../plugin.ts";
import type { Bound } from "../bindings.ts";
import { checkpointOf, type Run } from "../context.ts";
import { publishPolicy } from "../policies.ts";

/** Time limit, in seconds, for a service to pause a job: the ending run waits for it. */
const PAUSE_SECS = 20;

/** Progress of a job: its last step, and its checkpoint. */
interface Reached {
  steps: number;
  checkpoint: string;
}

/** Binds a hosted trainer. */
export function bind(run: Run): Bound[] {
  return [{
    stage: run.roles.trainer!.id,
    on: {
      "dataset.ready": ({ data }, out) => train(run, data, out),
      "policy.requested": ({ data }, out) => {
        const checkpoint = checkpointOf(run, data.checkpoint);
        return publishPolicy(run, data, out, () => run.hosted!.policy({ ...data, checkpoint }));
      },
    },
  }];
}

async function train(run: Run, dataset: EventMap["dataset.ready"], out: Out) {
  run.progress.begin("training job", 0, { phase: "job" });
  const job = await jobOf(run, dataset, out);
  const id = job.job_id;
  run.progress.say(`training job ${id}`);
  const time_up = timeUp(run);
  const reached = { steps: run.recorded.step, checkpoint: "" };
  try {
    await follow(run, job, AbortSignal.any([run.signal, time_up]), reached, out);
  } catch (error) {
    await pause(run, { id });
    if (run.signal.aborted || !time_up.aborted) throw error;
    reached.checkpoint = (await run.hosted!.checkpoints({ id })).at(-1)?.id ?? "";
    const found = reached.checkpoint ? `its last checkpoint is ${reached.checkpoint}` : "it has no checkpoint yet";
    run.log.warn(`limits.wall_clock_secs is reached: job ${id} is paused, ${found}`);
  }
  run.progress.stepped();
  await out.publish("rung.completed", { rung: "rl", ...reached });
}

/** Aborted when the time left is just enough to evaluate the tuned policy. */
function timeUp({ deadline, measuring_secs }: Run): AbortSignal {
  if (deadline === Infinity) return new AbortController().signal;
  return AbortSignal.timeout(timerMs((deadline - Date.now()) / 1000 - measuring_secs * 1.2));
}

/** The run's job: the one on record, where it can go on; otherwise one that is submitted now. */
async function jobOf(
  run: Run,
  { train, validation, grader }: EventMap["dataset.ready"],
  out: Out,
): Promise<EventMap["job.submitted"]> {
  const known = run.recorded.job;
  if (known && await run.hosted!.resume({ id: known.job_id })) return known;
  if (known) run.log.warn(`job ${known.job_id} cannot go on: submitting another one`);
  const { run_id } = run.bus;
  // Runs of earlier versions recorded absolute paths.
  const file = (path: string) => join(run.run_dir, "dataset", basename(path));
  const files = { train: file(train), validation: validation === null ? null : file(validation) };
  const job = await run.hosted!.submit({ ...files, grader, run_id, signal: run.signal });
  const submitted = { job_id: job.id, after_step: run.recorded.step };
  try {
    await out.publish("job.submitted", submitted);
  } catch (error) {
    await pause(run, job);
    throw error;
  }
  run.log.info(`submitted training job ${job.id}`);
  return submitted;
}

/** Publishes the job's steps until it is done; recorded ones are skipped. */
async function follow(
  run: Run,
  { job_id: id, after_step }: EventMap["job.submitted"],
  signal: AbortSignal,
  reached: Reached,
  { publish }: Out,
) {
  const steps = untilAborted(signal, run.hosted!.watch({ id }, signal));
  for (;;) {
    const { done, value } = await steps.next();
    if (done) {
      reached.checkpoint = value.id;
      return;
    }
    const { checkpoint, ...report } = value;
    const step = after_step + report.step;
    if (step <= reached.steps) continue;
    reached.steps = step;
    await publish("train.stepped", { ...report, step, checkpoint: checkpoint?.id ?? "", staleness: 0 });
    run.log.info(`job ${id}, step ${report.step}: loss ${report.loss.toFixed(4)}`);
  }
}

/** Asks the service to pause the job; warns if that fails, because the job may cost money. */
async function pause(run: Run, job: Job): Promise<void> {
  try {
    await limited(PAUSE_SECS, new AbortController().signal, () => run.hosted!.pause(job));
  } catch (error) {
    run.log.warn(`job ${job.id} could not be paused and may keep incurring cost: ${messageOf(error)}`);
  }
}
