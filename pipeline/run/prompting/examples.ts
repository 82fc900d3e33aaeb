/**
 * Examples for a prompt: reference solutions that were replayed on the real servers and judged successful, as the
 * conversation in which the agent carries them out.
 * @module
 */
import { estimateText } from "../../chat/tool_text.ts";
import type { CallSpec, ChatMessage, Scenario, ToolSpec, Trajectory } from "../../events.ts";
import { trajectories } from "../../store/recorded.ts";
import type { Run } from "../context.ts";
import { demonstration } from "../reference_solution.ts";

/** An example. */
export interface Example {
  /** The scenario whose solution it is. */
  id: string;
  messages: ChatMessage[];
  /** Estimated. */
  tokens: number;
}

/** The verified examples of these scenarios, in their order, from the replays of the policy `reference` on them. */
export async function verifiedExamples(run: Run, scenarios: readonly Scenario[]): Promise<Example[]> {
  const rows = await run.store.query(
    `SELECT r.rollout_id FROM rollouts r JOIN rewards w USING (rollout_id)
     WHERE r.policy = 'reference' AND r.split = 'train' AND r.purpose = 'evaluation' AND w.success
     QUALIFY row_number() OVER (PARTITION BY r.scenario_id ORDER BY r.attempt DESC) = 1`,
  );
  const replays = await trajectories(run.store, rows.map(({ rollout_id }) => String(rollout_id)));
  const by_scenario = new Map(replays.map((one) => [one.scenario_id, one]));
  return scenarios.flatMap((scenario) => {
    const replay = by_scenario.get(scenario.id);
    return replay ? [exampleOf(run, scenario, replay)] : [];
  });
}

function exampleOf(run: Run, scenario: Scenario, { tool_calls }: Trajectory): Example {
  const written = demonstration(run, scenario, tool_calls).messages.filter(({ role }) => role !== "system");
  const native = run.policies.get("base")!.tool_format === "native";
  const messages = native ? asNative(scenario, run.catalog.tools, written) : written;
  const tokens = messages.reduce(
    (sum, { content, tool_calls }) => sum + estimateText(content + (tool_calls ? JSON.stringify(tool_calls) : "")),
    0,
  );
  return { id: scenario.id, messages, tokens };
}

/** The calls as an endpoint that knows tools returns them, instead of as text. Their ids are unique among examples. */
function asNative(
  { id, solution }: Scenario,
  tools: readonly ToolSpec[],
  [task, ...rest]: ChatMessage[],
): ChatMessage[] {
  const nameOf = ({ tool, server }: CallSpec) =>
    tools.find((one) => (one.name === tool || one.model_name === tool) && (!server || one.server === server))
      ?.model_name ?? tool;
  const called = solution!.calls.flatMap((call, index) => {
    const call_id = `${id.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 32)}_${index}`;
    const named = { name: nameOf(call), arguments: JSON.stringify(call.arguments) };
    return [
      {
        role: "assistant" as const,
        content: "",
        tool_calls: [{ id: call_id, type: "function" as const, function: named }],
      },
      { ...rest[2 * index + 1]!, tool_call_id: call_id },
    ];
  });
  return [task!, ...called, { role: "assistant", content: solution!.answer }];
}
