/**
 * The supervised rung: reference solutions are replayed on the real server, those that the judges accept become
 * demonstrations, and the trainer trains on exactly the token ids that its endpoint would have seen and produced.
 * @module
 */
import { offeredTools } from "../../chat/conversation.ts";
import { shuffled, stream } from "../../common/random.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { Outcome, Scenario, ToolCallRecord, TurnRecord } from "../../events.ts";
import type { CallResult, Demonstration, Environment, RolloutRecord } from "../../plugin.ts";
import type { BatchRow } from "../../store/batch_file.ts";
import { agentOf, type Group, type Run } from "../context.ts";
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
  run.log.info(`${verified.length} of ${groups.length} reference solutions reach their goal on the real server`);
  if (verified.length === 0) {
    const first = judged.map(({ reward }) => reward).find((reward) => "invalid" in reward);
    const reason = first?.invalid ?? "the judges scored every replay below success";
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

/** Replays a scenario's reference solution: the rollout of a demonstration. */
export async function* replaySolution(
  run: Run,
  scenario: Scenario,
  environment: Environment,
): AsyncGenerator<RolloutRecord, Outcome> {
  const solution = scenario.solution!;
  const results: CallResult[] = [];
  for (const call of solution.calls) {
    const tool = environment.tools.find((t) =>
      (t.name === call.tool || t.model_name === call.tool) && (!call.server || t.server === call.server)
    );
    results.push(await environment.call(tool?.model_name ?? call.tool, call.arguments));
  }
  const spoken = demonstration(run, scenario, results).messages.filter(({ role }) => role === "assistant");
  const texts = spoken.slice(-solution.calls.length - 1);
  for (const [index, call] of solution.calls.entries()) {
    const made = { id: `call-${index}`, name: call.tool, arguments: call.arguments };
    yield turn(index, texts[index]?.content ?? "", [made]);
    yield record(index, call, environment, results[index]!);
  }
  yield turn(solution.calls.length, solution.answer, []);
  return { end: "answered", answer: solution.answer };
}

/** The conversation of a reference solution. */
function demonstration(run: Run, scenario: Scenario, results: CallResult[]): Demonstration {
  const { id, role } = run.roles.rollout;
  if (!role.demonstrate) throw new HoneError(messages.rollout_cannot_demonstrate(id));
  const tools = offeredTools(scenario, run.catalog.tools);
  return role.demonstrate({ scenario, agent: agentOf(run, "base"), policy: run.policies.get("base")!, tools, results });
}

function turn(index: number, text: string, tool_calls: TurnRecord["tool_calls"]): TurnRecord {
  const base = { prompt_tokens: 0, output_tokens: 0, seconds: 0 };
  return { type: "turn", index, input: [], text, tool_calls, finish_reason: "stop", ...base };
}

function record(
  index: number,
  call: NonNullable<Scenario["solution"]>["calls"][number],
  environment: Environment,
  result: CallResult,
): ToolCallRecord {
  const server = call.server ?? environment.tools.find((tool) => tool.name === call.tool)?.server ?? "";
  return {
    type: "tool_call",
    turn: index,
    index: 0,
    server,
    tool: call.tool,
    arguments: call.arguments,
    truncated: false,
    ...result,
  };
}

function chunks<T>(items: T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
