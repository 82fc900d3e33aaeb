/**
 * Tool lists that fit: chooses what each scenario offers within `agent.tool_budget_tokens`, and refuses, before any
 * rollout, a list that does not fit the model's context. A choice is a function of seed, scenario and catalog alone, so
 * that every policy, every rollout and a resumed run are offered the same.
 * @module
 */
import { contextLength } from "../chat/context_length.ts";
import { completionTool, offeredTools, opening, templateTools } from "../chat/conversation.ts";
import { estimateText, estimateTool } from "../chat/tool_text.ts";
import { type Diagnostic, HoneError, toolLists as messages } from "../diagnostics/mod.ts";
import type { CallSpec, Scenario, ToolSpec } from "../events.ts";
import type { Policy } from "../plugin.ts";
import type { RunContext } from "./context.ts";
import { hash32 } from "../common/random.ts";

/** What a choice depends on beside the scenario. */
export interface Choice {
  tools: ToolSpec[];
  budget_tokens: number;
  seed: number;
  /** Tokens of one tool as the policy is shown it. */
  cost: (tool: ToolSpec) => number;
}

/** Below this no endpoint is asked for its context: every model has as much. */
const ALWAYS_FITS_TOKENS = 2048;

/** The scenarios with the tools that each offers. Throws where something cannot fit. */
export async function fitTools(ctx: RunContext, policy: Policy): Promise<Scenario[]> {
  const { tool_budget_tokens, tool_schemas } = ctx.agent;
  const cost = (tool: ToolSpec) => estimateTool(tool, policy.tool_format, tool_schemas);
  const { tools } = ctx.catalog;
  const scenarios = tool_budget_tokens === undefined
    ? ctx.scenarios
    : chooseAll(ctx.scenarios, { tools, budget_tokens: tool_budget_tokens, seed: ctx.config.seed, cost });
  await checkContext(ctx, policy, scenarios, cost);
  return scenarios;
}

/** Every scenario with its choice. Throws with all that do not fit. */
export function chooseAll(scenarios: Scenario[], choice: Choice): Scenario[] {
  const total = sum(choice.tools, choice.cost);
  if (total <= choice.budget_tokens) return scenarios;
  const mute = scenarios.filter((scenario) => neededTools(scenario, choice.tools) === null);
  const costly = scenarios.map((scenario) => {
    const needed = neededTools(scenario, choice.tools) ?? [];
    return { id: scenario.id, tokens: sum(needed, choice.cost), tools: needed.map(({ model_name }) => model_name) };
  }).filter(({ tokens }) => tokens > choice.budget_tokens).sort((a, b) => b.tokens - a.tokens);
  const problems: Diagnostic[] = [];
  if (costly[0]) problems.push(messages.needed_over_budget(costly[0], costly.length - 1, choice.budget_tokens));
  if (mute[0]) {
    problems.push(messages.nothing_needed(mute[0].id, mute.length - 1, choice.budget_tokens, {
      count: choice.tools.length,
      tokens: total,
    }));
  }
  if (problems.length > 0) throw new HoneError(problems);
  return scenarios.map((scenario) => ({
    ...scenario,
    tools: chooseTools(scenario, choice).map(({ model_name }) => model_name),
  }));
}

/**
 * The tools of one scenario: exactly its own `tools` where it has them; else what its expected calls and its solution
 * need, filled up to the budget with what it forbids and then with others in an order drawn by seed and scenario.
 */
export function chooseTools(scenario: Scenario, { tools, budget_tokens, seed, cost }: Choice): ToolSpec[] {
  const needed = new Set(neededTools(scenario, tools));
  if (scenario.tools) return tools.filter((tool) => needed.has(tool));
  let left = budget_tokens - sum([...needed], cost);
  const forbidden = new Set(scenario.calls?.forbidden);
  const rank = (tool: ToolSpec) =>
    isCalled(tool, forbidden) ? -1 : hash32(`${seed} tools ${scenario.id} ${tool.server}/${tool.name}`);
  const others = tools.filter((tool) => !needed.has(tool)).map((tool) => ({ tool, at: rank(tool) }));
  for (const { tool } of others.sort((a, b) => a.at - b.at)) {
    if (cost(tool) > left) continue;
    left -= cost(tool);
    needed.add(tool);
  }
  return tools.filter((tool) => needed.has(tool));
}

/** The tools that a scenario says it needs; null where it says nothing. */
export function neededTools(scenario: Scenario, tools: ToolSpec[]): ToolSpec[] | null {
  if (scenario.tools) return offeredTools(scenario, tools);
  const { solution, calls } = scenario;
  if (!solution && !calls?.expected) return null;
  const named: CallSpec[] = [...solution?.calls ?? [], ...calls?.expected ?? []];
  return tools.filter((tool) =>
    named.some((call) =>
      (call.tool === tool.name || call.tool === tool.model_name) && (!call.server || call.server === tool.server)
    )
  );
}

function isCalled(tool: ToolSpec, names: ReadonlySet<string>): boolean {
  return names.has(tool.name) || names.has(tool.model_name);
}

function sum(tools: readonly ToolSpec[], cost: (tool: ToolSpec) => number): number {
  return tools.reduce((total, tool) => total + cost(tool), 0);
}

/** Refuses the longest first turn where it does not fit; counts it exactly where the trainer can. */
async function checkContext(
  ctx: RunContext,
  policy: Policy,
  scenarios: Scenario[],
  cost: (tool: ToolSpec) => number,
): Promise<void> {
  const [first] = scenarios.map((scenario) => firstTurn(ctx, policy, scenario, cost))
    .sort((a, b) => b.prompt + b.tokens - a.prompt - a.tokens);
  if (!first || first.tools.length === 0) return;
  const max_tokens = Math.min(ctx.agent.max_tokens, policy.sampling.max_tokens);
  const estimate = first.prompt + first.tokens + max_tokens;
  if (estimate < ALWAYS_FITS_TOKENS / 2) return;
  const context = policy.context_tokens || (ctx.trainer ? await contextLength(policy, ctx.signal) : 0);
  if (context === 0 || estimate < context / 2) return;
  const exact = await promptTokens(ctx, policy, first.scenario, first.tools);
  const prompt = exact ?? first.prompt + first.tokens;
  if (prompt + max_tokens <= context) return;
  throw new HoneError(messages.context_too_small({
    count: first.tools.length,
    tools: first.tokens,
    compact: policy.tool_format === "native" && ctx.agent.tool_schemas !== "compact"
      ? first.tools.reduce((total, tool) => total + estimateTool(tool, "native", "compact"), 0)
      : undefined,
    scenario: first.scenario.id,
    prompt,
    exact: exact !== null,
    max_tokens,
    context,
    model: ctx.trainer ? ctx.config.model ?? policy.model : policy.model,
    room: Math.floor((context - max_tokens - first.prompt) * first.tokens / Math.max(1, prompt - first.prompt)),
  }));
}

/** Estimated tokens of a scenario's first turn: its tools, and what else stands there. */
function firstTurn(ctx: RunContext, policy: Policy, scenario: Scenario, cost: (tool: ToolSpec) => number) {
  const offered = offeredTools(scenario, ctx.catalog.tools);
  const tools = ctx.agent.complete_task ? [...offered, completionTool(offered)] : offered;
  const text = opening(ctx.agent, policy, scenario, []).map(({ content }) => content).join("\n");
  return { scenario, tools, tokens: sum(tools, cost), prompt: estimateText(text) };
}

/** Ids of the first prompt as the trainer's own endpoint would make it; null for other endpoints. */
async function promptTokens(ctx: RunContext, policy: Policy, scenario: Scenario, tools: ToolSpec[]) {
  if (!ctx.trainer) return null;
  const messages = [...opening(ctx.agent, policy, scenario, tools), { role: "assistant" as const, content: "Done." }];
  const given = policy.tool_format === "native" ? { tools: templateTools(ctx.agent, tools) } : {};
  const [encoded] = await ctx.trainer.demonstrate([{ id: scenario.id, scenario_id: scenario.id, messages, ...given }]);
  return encoded?.turns[0]?.prompt_ids.length ?? null;
}
