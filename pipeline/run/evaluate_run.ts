/**
 * Measures one policy without training: a run whose ladder is a single evaluation. Everything else is an ordinary run:
 * servers, scenarios, judges, records, report.
 * @module
 */
import { parseDocument } from "yaml";
import type { LoadedPipeline } from "../config/pipeline_file.ts";
import type { Agent, Policy } from "../plugin.ts";
import type { RunContext } from "./context.ts";
import { evaluatePolicy } from "./online/measure.ts";
import { endpointPolicy } from "./online/ladder.ts";
import { closing, measurements } from "./progress/phases.ts";
import { type RunOptions, runPipeline, type RunResult } from "./open_run.ts";

/** Names that a measured policy may have. */
export type PolicyName = "base" | "prompt" | "warm_start" | "tuned";

/** What to measure; split, tries and sampling are those of `config.evaluate`. */
export interface EvaluateOptions extends Omit<RunOptions, "resume" | "climb"> {
  policy: PolicyName;
  /** Absolute folder of an adapter or checkpoint that the pipeline's trainer can load; the base model when left out. */
  weights?: string;
}

/** Runs the evaluation into `run_dir`. Resolves as `runPipeline` does. */
export async function evaluateRun(
  loaded: LoadedPipeline,
  { policy, weights, ...options }: EvaluateOptions,
): Promise<RunResult> {
  const measured: LoadedPipeline = {
    ...loaded,
    config: { ...loaded.config, ladder: ["prompt"], evaluate: { ...loaded.config.evaluate, policies: [policy] } },
    stages: loaded.stages.filter(({ plugin }) => plugin.kind !== "exporter"),
    resolved_yaml: recorded(loaded.resolved_yaml, policy),
  };
  return await runPipeline(measured, {
    ...options,
    climb: async (ctx) => {
      const subject = await reach(ctx, policy, weights);
      const agent: Agent = policy === "prompt" ? ctx.agent : { ...ctx.agent, examples: [] };
      const { split, tries, sampling } = ctx.config.evaluate;
      ctx.progress.plan([...measurements(ctx, policy), ...closing(ctx)], ctx.deadline);
      for (const mode of sampling) await evaluatePolicy(ctx, { policy: subject, agent, split, tries, sampling: mode });
      return { policy: subject, checkpoint: weights ?? null };
    },
  });
}

/** The pipeline as this folder's record has it: resuming an evaluation must not train. */
function recorded(yaml: string, policy: PolicyName): string {
  const doc = parseDocument(yaml);
  doc.set("ladder", ["prompt"]);
  doc.setIn(["evaluate", "policies"], [policy]);
  return doc.toString({ lineWidth: 0 });
}

async function reach(ctx: RunContext, name: PolicyName, weights: string | undefined): Promise<Policy> {
  if (!weights || !ctx.trainer) return { ...ctx.trainer?.base ?? endpointPolicy(ctx), name };
  return await ctx.trainer.publish({ name, version: 1, dir: weights });
}
