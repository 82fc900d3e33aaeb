/** Messages about tool lists that are too large. @module */
import { quote, say } from "./diagnostic.ts";

const grouped = (count: number) => Math.round(count).toLocaleString("en-US");
const others = (count: number) => count > 0 ? ` (and ${grouped(count)} other${count === 1 ? "" : "s"})` : "";

/** Tool lists that exceed a budget or a model's context. Token counts are estimates unless `exact` is set. */
export const toolLists = {
  context_too_small: (
    { count, tools, compact, scenario, prompt, exact, max_tokens, context, model, room }: {
      count: number;
      tools: number;
      /** Tokens of the tools under `tool_schemas: compact`; undefined if that changes nothing. */
      compact: number | undefined;
      scenario: string;
      prompt: number;
      exact: boolean;
      max_tokens: number;
      context: number;
      model: string;
      /** Tokens that the context leaves for tools. */
      room: number;
    },
  ) =>
    say(
      "TOOLS_DO_NOT_FIT",
      `Cannot offer ${grouped(count)} tools: they take about ${grouped(tools)} tokens, which brings the first ` +
        `prompt of scenario ${quote(scenario)} to ${exact ? "" : "about "}${grouped(prompt)}; with a reply of up to ${
          grouped(max_tokens)
        } that exceeds the context of ${quote(model)}, ${grouped(context)}`,
      [
        ...(room > 0
          ? [
            `set agent.tool_budget_tokens to ${
              grouped(room).replaceAll(",", "")
            } or less, so that each scenario gets ` +
            "the tools that it needs and as many others as fit",
          ]
          : ["shorten the prompt or lower agent.max_tokens: it does not fit even without tools"]),
        ...(compact === undefined || compact > room
          ? []
          : [`set agent.tool_schemas: compact (about ${grouped(compact)} tokens)`]),
        "offer fewer tools with tools: or deny: of the server",
      ].join("; or "),
    ),
  needed_over_budget: (worst: { id: string; tokens: number; tools: string[] }, more: number, budget: number) =>
    say(
      "TOOLS_OVER_BUDGET",
      `Cannot keep to agent.tool_budget_tokens ${grouped(budget)}: the tools that scenario ${quote(worst.id)}${
        others(more)
      } needs take about ${grouped(worst.tokens)} tokens (${worst.tools.slice(0, 8).join(", ")}${
        worst.tools.length > 8 ? ", …" : ""
      })`,
      `set it to ${worst.tokens} or more`,
    ),
  nothing_needed: (id: string, more: number, budget: number, all: { count: number; tokens: number }) =>
    say(
      "TOOLS_UNKNOWN",
      `Cannot choose tools for scenario ${quote(id)}${
        others(more)
      }: it does not name the tools that it needs, and all ${grouped(all.count)} take about ${
        grouped(all.tokens)
      } tokens, more than agent.tool_budget_tokens ${grouped(budget)}`,
      `add tools, calls.expected or a solution to it; or set agent.tool_budget_tokens to ${all.tokens} or more`,
    ),
};
