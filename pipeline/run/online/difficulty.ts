/**
 * Difficulty (`train.difficulty`): before RL, the policy that it starts from attempts every training scenario a few
 * times (an evaluation on the split `train`); scenarios that it solves too rarely or too often are left out. During
 * RL, scenarios are drawn by the probability that their next group has both successes and failures, as their attempts so
 * far say. Everything is read from the records: resume needs no state.
 * @module
 */
import type { Out } from "../../bus.ts";
import type { PipelineConfig } from "../../config/pipeline_schema.ts";
import { counted, HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { Scenario } from "../../events.ts";
import { type Attempts, attemptsAt } from "../../store/step_records.ts";
import { evaluation, type Measurement } from "../bindings/bind_measure.ts";
import type { Run } from "../context.ts";
import type { Weights } from "./scenario_draw.ts";

type Sources = Pick<Run, "scenarios"> & { config: Pick<PipelineConfig, "train" | "ladder"> };

/** The policy that RL starts from. */
export function firstPolicy({ ladder }: Pick<PipelineConfig, "ladder">): string {
  return ladder.includes("warm_start") ? "warm_start" : "base";
}

/** The measurement of that policy on the training scenarios; null if `train.difficulty` is not set. */
export function probing({ config: { train }, scenarios }: Sources): Measurement | null {
  if (!train.difficulty) return null;
  return {
    split: "train",
    sampling: "sampled",
    temperature: train.temperature,
    tries: train.difficulty.probes,
    scenarios: scenarios.filter(({ split }) => split === "train").length,
  };
}

/** The scenarios that RL trains on; says how many it leaves out, and why. Throws if none is left. */
export async function trainable(run: Run, { publish }: Out): Promise<Scenario[]> {
  const all = run.scenarios.filter(({ split }) => split === "train");
  const probe = probing(run);
  if (!probe) return all;
  const [low, high] = run.config.train.difficulty!.keep;
  const attempts = Map.groupBy(await attemptsAt(run.store, probed(run, probe), 0), ({ scenario_id }) => scenario_id);
  const kinds = Map.groupBy(all, ({ id }) => {
    const [found] = attempts.get(id) ?? [];
    if (!found || found.judged === 0) return "not_judged";
    const rate = found.passed / found.judged;
    return rate < low ? "too_hard" : rate > high ? "too_easy" : "kept";
  });
  const count = (kind: string) => kinds.get(kind as "kept")?.length ?? 0;
  const left_out = [
    ["too_hard", `with a pass rate below ${low}`],
    ["too_easy", `with one above ${high}`],
    ["not_judged", "that could not be judged"],
  ].filter(([kind]) => count(kind!) > 0).map(([kind, why]) => `${count(kind!)} ${why}`);
  const kept = kinds.get("kept") ?? [];
  if (kept.length === 0) throw new HoneError(messages.no_scenario_kept(all.length, left_out, run.run_dir));
  const without = left_out.length > 0 ? `; left out: ${left_out.join(", ")}` : "";
  run.log.info(`difficulty: RL trains on ${kept.length} of ${counted(all.length, "scenario")}${without}`);
  if (run.recorded.step <= run.supervised_steps) {
    for (const kind of ["kept", "too_hard", "too_easy", "not_judged"]) {
      const figure = { name: `difficulty_${kind}`, value: count(kind) };
      await publish("metric.recorded", { ...figure, step: run.supervised_steps, kind: "rl" });
    }
  }
  return kept;
}

/** The weights of scenarios in the draw of an RL step; undefined if `train.difficulty` is not set. */
export async function drawWeights(run: Run, step: number): Promise<Weights | undefined> {
  const probe = probing(run);
  if (!probe) return undefined;
  const { max_staleness, group_size } = run.config.train;
  // Only steps that are certainly trained when this one is requested, whatever runs ahead.
  const attempts = await attemptsAt(run.store, probed(run, probe), step - 1 - max_staleness);
  const by_scenario = Map.groupBy(attempts, ({ scenario_id }) => scenario_id);
  return ({ id }) => splitProbability(by_scenario.get(id) ?? [], group_size);
}

function probed(run: Run, probe: Measurement) {
  return evaluation(run, firstPolicy(run.config), probe);
}

/** The policy changes: what an earlier group says counts half as much as the next one. */
const DECAY = 0.5;

/**
 * The probability that a group has both successes and failures, where the pass rate has the Beta posterior of these
 * attempts (oldest first) over a uniform prior: 1 - E[p^n] - E[(1 - p)^n].
 */
export function splitProbability(attempts: Pick<Attempts, "passed" | "judged">[], group_size: number): number {
  let [passed, failed] = [0, 0];
  for (const one of attempts) {
    passed = passed * DECAY + one.passed;
    failed = failed * DECAY + one.judged - one.passed;
  }
  return 1 - allOf(1 + passed, 1 + failed, group_size) - allOf(1 + failed, 1 + passed, group_size);
}

/** E[p^n] under Beta(a, b). */
function allOf(a: number, b: number, n: number): number {
  return Array.from({ length: n }, (_, i) => (a + i) / (a + b + i)).reduce((product, one) => product * one, 1);
}
