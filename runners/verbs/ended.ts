/**
 * How a run ended, as `run`, `resume` and `evaluate` return it.
 * @module
 */
import { relative } from "node:path";
import { z } from "zod";
import { verdict } from "./results.ts";

/** What programs are told. */
export const ended = z.object({
  status: z.enum(["completed", "failed", "cancelled", "paused"]),
  run_dir: z.string().describe("Absolute folder of the run."),
  kept: z.boolean().describe("False where nothing of the run was worth keeping: its folder is gone."),
  error: z.string().optional().describe("Why it failed."),
  verdict: verdict.optional(),
});

/** With the exit code, which programs have from the process. */
export interface Ended extends z.output<typeof ended> {
  exit: number;
}

/** The sentence of the verdict and where its report is, where there is one. */
export function endedText({ verdict, run_dir }: Ended): string {
  return verdict ? `${verdict.sentence}\n${reportIn(run_dir)}` : "";
}

/** The report of a run, as seen from here. */
export function reportIn(run_dir: string): string {
  return `${relative(Deno.cwd(), run_dir) || "."}/report.html`;
}

/** As JSON. */
export function endedJson({ exit: _, ...told }: Partial<Ended>): string {
  return JSON.stringify(told);
}
