/** Prices of policies, from what the pipeline declares for their endpoints. @module */
import type { LlmPrice } from "../plugin.ts";
import type { PipelineConfig } from "./pipeline_schema.ts";

/** The prices by policy; none for a policy of the trainer. */
export function policyPrices(
  { model, agent, evaluate }: Pick<PipelineConfig, "model" | "agent" | "evaluate">,
): Record<string, LlmPrice> {
  const own = model === undefined ? agent.endpoint?.price : undefined;
  const models = Object.entries(evaluate.models).flatMap(([name, { price }]) => price ? [[name, price] as const] : []);
  return { ...(own && { base: own, prompt: own }), ...Object.fromEntries(models) };
}
