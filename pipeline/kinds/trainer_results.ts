/** What trainers return, checked: throws an Error that names what is wrong, for the stage to be named with it. @module */
import type { JsonObject, StepReport } from "../events.ts";
import type { Checkpoint, HostedStep, Job, Policy, TrainerMetric } from "../plugin.ts";
import { mustHave } from "./kind.ts";

/** A policy that can be asked. */
export function checkedPolicy(value: unknown): Policy {
  mustHave(value, "a policy", { name: "string", version: "number", base_url: "string", model: "string" });
  mustHave((value as Policy).sampling, "the sampling of a policy", { temperature: "number", max_tokens: "number" });
  return value as Policy;
}

/** A step's report; `step` is the number that was asked for, where one was. */
export function checkedReport<R extends StepReport>(value: unknown, step?: number): R {
  const report = mustHave(value, "the report of a step", { step: "number", kind: "string", metrics: "object" });
  if (!Number.isFinite(report.loss)) throw new Error(`step ${report.step} has loss ${report.loss}: expected a number`);
  if (step !== undefined && report.step !== step) throw new Error(`step ${step} was reported as step ${report.step}`);
  return value as R;
}

/** A step that a hosted job reported. */
export function checkedStep(value: unknown): HostedStep {
  const { checkpoint } = checkedReport<HostedStep>(value);
  if (checkpoint !== undefined) checkedCheckpoint(checkpoint);
  return value as HostedStep;
}

/** A metric. */
export function checkedMetric(value: unknown): TrainerMetric {
  return mustHave(value, "a metric", { name: "string", value: "number" }) as JsonObject & TrainerMetric;
}

/** A checkpoint. */
export function checkedCheckpoint(value: unknown): Checkpoint {
  return mustHave(value, "a checkpoint", { id: "string" }) as JsonObject & Checkpoint;
}

/** A job. */
export function checkedJob(value: unknown): Job {
  return mustHave(value, "a job", { id: "string" }) as JsonObject & Job;
}
