/** How much the search for a prompt tries, within its number of rollouts. @module */
import type { PipelineConfig } from "../../config/pipeline_schema.ts";
import type { Scenario } from "../../events.ts";

/** What the extent depends on. */
interface Searching {
  config: Pick<PipelineConfig, "ladder" | "agent" | "evaluate" | "prompt">;
  scenarios: Scenario[];
}

/** Numbers of scenarios. */
export interface Extent {
  /** Training scenarios on which every candidate is tried. */
  sample: number;
  /** Others, whose solutions may become examples. */
  pool: number;
  /** Validation scenarios on which the choice is made. */
  validation: number;
  /** Rollouts that the choice takes. */
  reserve: number;
  /** Rollouts of the whole search, at most. */
  rollouts: number;
}

/** Candidates between which the choice is made, at most. */
const FINALISTS = 3;
/** Solutions that are replayed for each example. */
const REPLAYS = 4;

/** Whether the ladder searches for a prompt: it has the rung, nobody wrote examples, and the verdict compares the policy. */
export function searchesPrompt({ ladder, agent, evaluate }: Searching["config"]): boolean {
  return ladder.includes("prompt") && agent.examples.length === 0 && evaluate.policies.includes("prompt");
}

/** How much is tried: at most half of the rollouts for the choice, at most half of the training scenarios as sample. */
export function extentOf({ config, scenarios }: Searching): Extent {
  const { prompt, evaluate } = config;
  const train = scenarios.filter(({ split }) => split === "train");
  const most = prompt.examples > 0 ? Math.max(1, Math.floor(train.length / 2)) : train.length;
  const sample = Math.min(prompt.sample, most, prompt.rollouts);
  const pool = Math.min(REPLAYS * prompt.examples, Math.max(0, train.length - sample));
  const others = scenarios.filter(({ split }) => split === "validation").length;
  const wanted = evaluate.validation_scenarios || others;
  const validation = Math.min(others, wanted, Math.floor(prompt.rollouts / (2 * FINALISTS)));
  const reserve = FINALISTS * validation;
  const tried = 1 + prompt.instructions + 3 * prompt.examples;
  return { sample, pool, validation, reserve, rollouts: Math.min(prompt.rollouts, sample * tried + pool + reserve) };
}
