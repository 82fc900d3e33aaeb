/**
 * Measures a policy on a split: every scenario, `tries` times, greedily or sampled, through the same rollout plugin
 * and the same judges as training. Nothing here feeds back into training but what `validation` decides.
 * @module
 */
import type { Split } from "../../events.ts";
import type { Agent, Policy } from "../../plugin.ts";
import { wilson } from "../../stats/proportion.ts";
import { emit, type RunContext } from "../context.ts";
import type { Judged } from "../rollouts.ts";
import { runGroups } from "../groups.ts";

/** How an evaluation samples. */
export type Sampling = "greedy" | "sampled";

/** What to measure. */
export interface EvaluationSpec {
  policy: Policy;
  agent: Agent;
  split: Split;
  tries: number;
  sampling: Sampling;
  /** Its phase in the run's forecast; that of the policy's own measurement when left out. */
  phase?: string;
}

/** The phase in the run's forecast that measures a policy. */
export function evaluationPhase(policy: string, sampling: Sampling): string {
  return `evaluate ${policy} ${sampling}`;
}

/** The temperature of an evaluation. */
export function temperatureOf(ctx: RunContext, sampling: Sampling): number {
  return sampling === "greedy" ? 0 : ctx.config.agent.temperature;
}

/** Runs one evaluation, or recalls what of it is stored, and publishes its result. */
export async function evaluatePolicy(ctx: RunContext, spec: EvaluationSpec): Promise<Judged[]> {
  const scenarios = ctx.scenarios.filter(({ split }) => split === spec.split);
  const temperature = temperatureOf(ctx, spec.sampling);
  const policy: Policy = { ...spec.policy, sampling: { ...spec.policy.sampling, temperature } };
  const { name, version } = policy;
  const started = performance.now();
  ctx.progress.begin(`evaluate ${name} (${spec.split}, ${spec.sampling})`, scenarios.length * spec.tries, {
    phase: spec.phase ?? evaluationPhase(name, spec.sampling),
  });
  const head = { policy: name, policy_version: version, split: spec.split, temperature };
  await emit(ctx, "runner", "evaluation.requested", { ...head, scenarios: scenarios.length, tries: spec.tries });
  const groups = await runGroups(
    ctx,
    scenarios.map((scenario) => ({
      group_id: `eval-${name}-${spec.split}-${spec.sampling}-${scenario.id}`,
      scenario,
      policy,
      agent: spec.agent,
      purpose: "evaluation",
      split: spec.split,
      step: -1,
      size: spec.tries,
      timeout_secs: ctx.config.train.group_timeout_secs,
    })),
  );
  const judged = groups.flat();
  const valid = judged.filter(({ reward }) => !("invalid" in reward));
  const success = wilson(valid.filter((rollout) => rollout.success).length, valid.length);
  const seconds = (performance.now() - started) / 1000;
  await emit(ctx, "runner", "evaluation.completed", { ...head, success, seconds });
  ctx.log.info(
    `${name} on ${spec.split}, ${spec.sampling}: ${valid.filter((r) => r.success).length} of ${valid.length} ` +
      `(${success.low.toFixed(2)} to ${success.high.toFixed(2)}), ${judged.length - valid.length} invalid, ${
        seconds.toFixed(1)
      } s`,
  );
  return judged;
}
