/**
 * Chooses the tools that each scenario offers within `agent.tool_budget_tokens`, and rejects, before any rollout, a
 * list that does not fit the model's context. A choice depends only on seed, scenario and catalog, so that every
 * policy, every rollout and a resumed run get the same tools.
 * @module
 */
import { contextLength } from "../chat/context_length.ts";
import { completionTool, offeredTools, opening, templateTools } from "../chat/conversation.ts";
import { estimateText, estimateTool } from "../chat/tool_text.ts";
import { type Diagnostic, HoneError, toolLists as messages } from "../diagnostics/mod.ts";
import type { Scenario, ToolSpec } from "../events.ts";
import type { NamedCall, Policy, ScenarioPart } from "../plugin.ts";
import type { Run } from "../run/context.ts";
import { namedCalls } from "./parts.ts";
import { hash32 } from "../common/random.ts";

/** What a choice depends on besides the scenario. */
export interface Choice {
  tools: ToolSpec[];
  /** The judges' parts of scenarios, some of which name calls. */
  parts: readonly ScenarioPart[];
  budget_tokens: number;
  seed: number;
  /** Tokens of one tool in the policy's prompt. */
  cost: (tool: ToolSpec) => number;
}

/** Prompts up to this size fit every model: the endpoint's context length is not requested. */
const ALWAYS_FITS_TOKENS = 2048;

/** The scenarios with the tools that each offers. Throws if a list cannot fit. */
export async function fitTools(run: Run, policy: Policy): Promise<Scenario[]> {
  const { tool_budget_tokens, tool_schemas } = run.agent;
  const cost = (tool: ToolSpec) => estimateTool(tool, policy.tool_format, tool_schemas);
  const { tools } = run.catalog;
  const scenarios = tool_budget_tokens === undefined ? run.scenarios : chooseAll(run.scenarios, {
    tools,
    parts: run.parts,
    budget_tokens: tool_budget_tokens,
    seed: run.config.seed,
    cost,
  });
  await checkContext(run, policy, scenarios, cost);
  return scenarios;
}

/** Every scenario with its choice. Throws with all scenarios that do not fit. */
export function chooseAll(scenarios: Scenario[], choice: Choice): Scenario[] {
  const total = sum(choice.tools, choice.cost);
  if (total <= choice.budget_tokens) return scenarios;
  const mute = scenarios.filter((scenario) => neededTools(scenario, choice) === null);
  const costly = scenarios.map((scenario) => {
    const needed = neededTools(scenario, choice) ?? [];
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
 * The tools of one scenario: exactly its `tools` if set; otherwise those that its expected calls and solution need,
 * filled up to the budget with forbidden tools and then with others in an order derived from seed and scenario.
 */
export function chooseTools(scenario: Scenario, choice: Choice): ToolSpec[] {
  const { tools, parts, budget_tokens, seed, cost } = choice;
  const needed = new Set(neededTools(scenario, choice));
  if (scenario.tools) return tools.filter((tool) => needed.has(tool));
  let left = budget_tokens - sum([...needed], cost);
  const forbidden = new Set(callsOf(scenario, parts, "forbidden").map(({ tool }) => tool));
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

/** The tools that a scenario declares as needed; null if it declares none. */
export function neededTools(scenario: Scenario, { tools, parts }: Pick<Choice, "tools" | "parts">): ToolSpec[] | null {
  if (scenario.tools) return offeredTools(scenario, tools);
  const expected = callsOf(scenario, parts, "expected");
  // An empty list means that no call is needed.
  const says = expected.length > 0 || "expected" in (scenario.calls ?? {});
  if (!scenario.solution && !says) return null;
  const named = [...scenario.solution?.calls ?? [], ...expected];
  return tools.filter((tool) =>
    named.some((call) =>
      (call.tool === tool.name || call.tool === tool.model_name) && (!call.server || call.server === tool.server)
    )
  );
}

function callsOf(scenario: Scenario, parts: readonly ScenarioPart[], as: NamedCall["as"]): NamedCall["call"][] {
  return namedCalls(scenario, parts).filter((named) => named.as === as).map(({ call }) => call);
}

function isCalled(tool: ToolSpec, names: ReadonlySet<string>): boolean {
  return names.has(tool.name) || names.has(tool.model_name);
}

function sum(tools: readonly ToolSpec[], cost: (tool: ToolSpec) => number): number {
  return tools.reduce((total, tool) => total + cost(tool), 0);
}

/** Rejects the longest first turn if it does not fit; counts it exactly if the trainer supports it. */
async function checkContext(
  run: Run,
  policy: Policy,
  scenarios: Scenario[],
  cost: (tool: ToolSpec) => number,
): Promise<void> {
  const [first] = scenarios.map((scenario) => firstTurn(run, policy, scenario, cost))
    .sort((a, b) => b.prompt + b.tokens - a.prompt - a.tokens);
  if (!first || first.tools.length === 0) return;
  const max_tokens = Math.min(run.agent.max_tokens, policy.sampling.max_tokens);
  const estimate = first.prompt + first.tokens + max_tokens;
  if (estimate < ALWAYS_FITS_TOKENS / 2) return;
  const context = policy.context_tokens || (run.online ? await contextLength(policy, run.signal) : 0);
  if (context === 0 || estimate < context / 2) return;
  const exact = await promptTokens(run, policy, first.scenario, first.tools);
  const prompt = exact ?? first.prompt + first.tokens;
  if (prompt + max_tokens <= context) return;
  throw new HoneError(messages.context_too_small({
    count: first.tools.length,
    tools: first.tokens,
    compact: policy.tool_format === "native" && run.agent.tool_schemas !== "compact"
      ? first.tools.reduce((total, tool) => total + estimateTool(tool, "native", "compact"), 0)
      : undefined,
    scenario: first.scenario.id,
    prompt,
    exact: exact !== null,
    max_tokens,
    context,
    model: run.online ? run.config.model ?? policy.model : policy.model,
    room: Math.floor((context - max_tokens - first.prompt) * first.tokens / Math.max(1, prompt - first.prompt)),
  }));
}

/** Estimated tokens of a scenario's first turn: tools and prompt. */
function firstTurn(run: Run, policy: Policy, scenario: Scenario, cost: (tool: ToolSpec) => number) {
  const offered = offeredTools(scenario, run.catalog.tools);
  const tools = run.agent.complete_task ? [...offered, completionTool(offered)] : offered;
  const text = opening(run.agent, policy, scenario, []).map(({ content }) => content).join("\n");
  return { scenario, tools, tokens: sum(tools, cost), prompt: estimateText(text) };
}

/** Token ids of the first prompt as rendered by the trainer's endpoint; null for other endpoints. */
async function promptTokens(run: Run, policy: Policy, scenario: Scenario, tools: ToolSpec[]) {
  if (!run.online) return null;
  const messages = [...opening(run.agent, policy, scenario, tools), { role: "assistant" as const, content: "Done." }];
  const given = policy.tool_format === "native" ? { tools: templateTools(run.agent, tools) } : {};
  const [encoded] = await run.online.demonstrate([{ id: scenario.id, scenario_id: scenario.id, messages, ...given }]);
  return encoded?.turns[0]?.prompt_ids.length ?? null;
}
