/**
 * Reference solutions: their replay in an environment, and the conversation that they make for the warm start.
 * @module
 */
import { offeredTools } from "../chat/conversation.ts";
import { HoneError, runner as messages } from "../diagnostics/mod.ts";
import type { Outcome, Scenario, ToolCallRecord, TurnRecord } from "../events.ts";
import type { CallResult, Demonstration, Environment, RolloutRecord } from "../plugin.ts";
import { agentOf, type Run } from "./context.ts";

/** Calls in order, then the closing answer. */
export type Solution = NonNullable<Scenario["solution"]>;

/** The closing answer and the calls of doing nothing. */
export const NOTHING: Solution = { calls: [], answer: "" };

/** Replays a scenario's solution: the rollout of a demonstration, and of a trial. */
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
  const texts = spoken(run, scenario, results);
  for (const [index, call] of solution.calls.entries()) {
    const made = { id: `call-${index}`, name: call.tool, arguments: call.arguments };
    yield turn(index, texts[index] ?? "", [made]);
    yield record(index, call, environment, results[index]!);
  }
  yield turn(solution.calls.length, solution.answer, []);
  return { end: "answered", answer: solution.answer };
}

/** What the agent would write at each call; unknown before the model is opened. */
function spoken(run: Run, scenario: Scenario, results: CallResult[]): string[] {
  if (!run.policies.has("base") || !run.roles.rollout.role.demonstrate) return [];
  const { messages } = demonstration(run, scenario, results);
  const texts = messages.filter(({ role }) => role === "assistant").map(({ content }) => content);
  return texts.slice(-results.length - 1);
}

/** The conversation of a reference solution. */
export function demonstration(run: Run, scenario: Scenario, results: CallResult[]): Demonstration {
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
  call: Solution["calls"][number],
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
