/**
 * How a run ended, as `run`, `resume` and `evaluate` return it.
 * @module
 */
import { relative } from "node:path";
import { z } from "zod";
import { RUN_STATUSES } from "../../pipeline/events.ts";
import { verdict } from "./results.ts";

/** The JSON result. */
export const ended = z.object({
  status: z.enum(RUN_STATUSES).describe("interrupted: by Ctrl-C or a signal."),
  run_dir: z.string().describe("Absolute folder of the run."),
  kept: z.boolean().describe("False if the run's folder was deleted because no rollout finished."),
  error: z.string().optional().describe("Cause of the failure."),
  verdict: verdict.optional(),
});

/** The result with its exit code, which programs get from the process. */
export interface Ended extends z.output<typeof ended> {
  exit: number;
}

/** The verdict's sentence and the path of its report, if there is a verdict. */
export function endedText({ verdict, run_dir }: Ended): string {
  return verdict ? `${verdict.sentence}\n${reportIn(run_dir)}` : "";
}

/** Path of a run's report, relative to the current folder. */
export function reportIn(run_dir: string): string {
  return `${relative(Deno.cwd(), run_dir) || "."}/report.html`;
}

/** As JSON. */
export function endedJson({ exit: _, ...told }: Partial<Ended>): string {
  return JSON.stringify(told);
}
