/** The main settings of a run as trackers show them beside its figures: flat, and without what may be secret. @module */
import { isSecretName, redact } from "../common/redact.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";

type Setting = string | number | boolean;

/** Values longer than this are cut. */
const MAX_CHARS = 500;

/**
 * Settings by dotted name: the pipeline's own, and of the stages their plugins and the trainer's settings. Servers,
 * endpoints and prompts are left out.
 */
export function trackedSettings(config: PipelineConfig): Record<string, Setting> {
  const { model, seed, ladder, warm_start, train, evaluate: { policies, split, tries }, agent } = config;
  const { max_turns, max_tokens, temperature } = agent;
  const trainer = config.stages.find(({ use }) => use.startsWith("trainer/"));
  const chosen = {
    seed,
    model,
    ladder,
    stages: config.stages.map(({ use }) => use),
    agent: { max_turns, max_tokens, temperature },
    ...(ladder.includes("warm_start") && { warm_start }),
    ...(ladder.includes("rl") && { train }),
    evaluate: { policies, split, tries },
    ...(trainer && { trainer: trainer.with }),
  };
  return Object.fromEntries(flat(chosen, ""));
}

function flat(value: unknown, name: string): [string, Setting][] {
  if (value === undefined || value === null) return [];
  if (typeof value === "number" || typeof value === "boolean") return [[name, value]];
  if (typeof value === "object" && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) => flat(inner, name === "" ? key : `${name}.${key}`));
  }
  const texts = [value].flat().map((one) => typeof one === "string" ? one : JSON.stringify(one));
  const text = isSecretName(name) ? "" : redact(texts.join(", ")).slice(0, MAX_CHARS);
  return text === "" ? [] : [[name, text]];
}
