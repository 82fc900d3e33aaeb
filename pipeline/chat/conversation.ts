/**
 * The conversation that a policy sees: the opening of a rollout, results and corrections. Rollouts and demonstrations
 * use the same functions, so that training data has the same form as rollouts.
 * @module
 */
import type { ChatMessage, Scenario, ToolSpec } from "../events.ts";
import type { Agent, CallResult, Demonstration, Policy } from "../plugin.ts";
import { clip, renderCall, renderTools, resultMessages, type WrittenCall } from "./formats.ts";
import { compactTool } from "./tool_text.ts";

/** The tools that a scenario offers, of all that there are. */
export function offeredTools(scenario: Scenario, tools: ToolSpec[]): ToolSpec[] {
  const named = scenario.tools && new Set(scenario.tools);
  return named ? tools.filter(({ name, model_name }) => named.has(model_name) || named.has(name)) : tools;
}

/** The tools as an endpoint's template is given them. */
export function templateTools(agent: Agent, tools: ToolSpec[]): ToolSpec[] {
  return agent.tool_schemas === "compact" ? tools.map(compactTool) : tools;
}

/** The synthetic tool that ends a rollout with its answer; renamed where a server has one of its name. */
export function completionTool(tools: readonly ToolSpec[]): ToolSpec {
  const taken = tools.some(({ model_name }) => model_name === "complete_task");
  const name = taken ? "hone_complete_task" : "complete_task";
  return {
    server: "",
    name,
    model_name: name,
    description: "Ends the task and gives its answer.",
    input_schema: { type: "object", properties: { answer: { type: "string" } }, required: ["answer"] },
    annotations: {},
    tokens: 0,
  };
}

/** System prompt with the tools, examples, and the task. */
export function opening(agent: Agent, policy: Policy, scenario: Scenario, tools: readonly ToolSpec[]): ChatMessage[] {
  const parts = [agent.system_prompt.trim(), renderTools(tools, policy.tool_format)].filter((part) => part !== "");
  const system: ChatMessage[] = parts.length > 0 ? [{ role: "system", content: parts.join("\n\n") }] : [];
  return [...system, ...agent.examples, { role: "user", content: scenario.task }];
}

/** What the model is told where its text was no readable call. */
export function correction(reason: string, policy: Policy): ChatMessage[] {
  return resultMessages([{ outcome: "invalid_arguments", text: reason }], policy.tool_format)
    .map((message) => ({ ...message, role: "user" }));
}

/** The conversation in which a policy carries out the reference solution; `results` are of its calls, in order. */
export function demonstration(args: {
  scenario: Scenario;
  agent: Agent;
  policy: Policy;
  tools: ToolSpec[];
  results: CallResult[];
}): Demonstration {
  const { scenario, agent, policy, results } = args;
  const format = policy.tool_format;
  if (!scenario.solution) throw new Error(`scenario ${scenario.id} has no solution to demonstrate`);
  const tools = offeredTools(scenario, args.tools);
  const ending = agent.complete_task ? completionTool(tools) : undefined;
  const shown = ending ? [...tools, ending] : tools;
  const messages = opening(agent, policy, scenario, shown);
  for (const [index, call] of scenario.solution.calls.entries()) {
    messages.push({ role: "assistant", content: renderCall(asModelWrites(call, tools), format) });
    const result = results[index];
    if (!result) throw new Error(`call ${index + 1} of the solution of ${scenario.id} has no result`);
    const { text } = clip(result.text, agent.max_result_chars);
    messages.push(...resultMessages([{ outcome: result.outcome, text }], format));
  }
  const { answer } = scenario.solution;
  const last = ending ? renderCall({ name: ending.model_name, arguments: { answer } }, format) : answer;
  messages.push({ role: "assistant", content: last });
  return {
    id: `demo-${scenario.id}`,
    scenario_id: scenario.id,
    messages,
    ...(format === "native" ? { tools: templateTools(agent, shown) } : {}),
  };
}

function asModelWrites(call: NonNullable<Scenario["solution"]>["calls"][number], tools: ToolSpec[]): WrittenCall {
  const found = tools.find(({ name, model_name, server }) =>
    (name === call.tool || model_name === call.tool) && (call.server === undefined || call.server === server)
  );
  return { name: found?.model_name ?? call.tool, arguments: call.arguments };
}
