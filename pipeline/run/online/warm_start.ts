/**
 * The supervised rung: reference solutions are replayed on the real server, those that the judges accept become
 * demonstrations, and the trainer trains on exactly the token ids that its endpoint would have seen and produced.
 * @module
 */
import { shuffled, stream } from "../../common/random.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { Scenario } from "../../events.ts";
import type { BatchRow } from "../../store/batch_file.ts";
import type { Group, Run } from "../context.ts";
import { demonstration } from "../reference_solution.ts";
import { unsupportedValues } from "../../scenario/answer_support.ts";
import { inTurns } from "./scenario_draw.ts";

/** Training scenarios with a solution: all, or `warm_start.demonstrations` of them, families taking turns. */
export function demonstrated({ scenarios, config }: Pick<Run, "scenarios" | "config">): Scenario[] {
  const solved = scenarios.filter(({ split, solution }) => split === "train" && solution);
  const order = inTurns(solved, stream(config.seed, "demonstrations"));
  return order.slice(0, config.warm_start.demonstrations || order.length);
}

/** The batches of all epochs, from the groups (in the order of `demonstrated`) that the judges accepted. */
export async function supervisedBatches(run: Run, groups: Group[]): Promise<BatchRow[][]> {
  const judged = groups.flatMap((group) => group.judged!.map((one) => ({ ...one, scenario: group.scenario })));
  const verified = judged.filter(({ success }) => success);
  const unsupported = verified.filter(({ scenario, trajectory }) =>
    unsupportedValues(scenario, trajectory.tool_calls).length > 0
  );
  const invalid = judged.flatMap(({ reward }) => "invalid" in reward ? [reward.invalid] : []);
  const unsupported_ids = unsupported.map(({ scenario }) => scenario.id);
  run.log.info(messages.verified_solutions(verified.length, groups.length, invalid.length, unsupported_ids));
  if (verified.length === 0) {
    const reason = invalid[0] ?? "the judges scored every replay below success";
    throw new HoneError(messages.no_demonstration(groups.length, reason, run.run_dir));
  }
  const demonstrations = verified.map(({ scenario, trajectory }) =>
    demonstration(run, scenario, trajectory.tool_calls)
  );
  const encoded = await run.online!.demonstrate(demonstrations);
  const rows = encoded.map(({ id, turns }): BatchRow => ({
    rollout_id: id,
    group_id: id,
    policy_version: 0,
    advantage: 1,
    weight: 1,
    turns: turns.map((ids) => ({ ...ids, logprobs: null, finish_reason: "stop" as const })),
  }));
  const { epochs, batch_size } = run.config.warm_start;
  return Array.from(
    { length: epochs },
    (_, epoch) => chunks(shuffled(rows, stream(run.config.seed, `warm start ${epoch}`)), batch_size),
  ).flat();
}

function chunks<T>(items: T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
