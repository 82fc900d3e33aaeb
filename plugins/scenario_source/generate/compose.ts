/** Makes a scenario of a recipe and of what performing it has shown. @module */
import { digest, type Scenario, type ScenarioPart, type ToolSpec } from "@hone/hone";
import type { ArgumentKind } from "./argument_forms.ts";
import type { Performed } from "./performance.ts";
import type { Recipe } from "./recipes.ts";
import { specOf, type Stage } from "./scene.ts";

/** A scenario that is not validated yet. */
export interface Draft {
  scenario: Scenario;
  family: string;
  /** Names of the tools that the solution calls, sorted, joined by `+`. */
  combination: string;
  cells: Cell[];
  /** What a result of the solution must support; undefined if no result is needed for the answer. */
  stated?: string | number;
}

/** A tool and a kind of argument: a cell of the coverage matrix. */
export interface Cell {
  tool: string;
  kind: ArgumentKind;
}

/** Which parts of scenarios decide success in this pipeline. */
export interface Judged {
  checks: boolean;
  answer: boolean;
  calls: boolean;
}

/** The parts that decisive judges read. */
export function judgedBy(parts: readonly ScenarioPart[]): Judged {
  const decides = (place: string) => parts.some((part) => part.place === place && part.decides);
  return { checks: decides("checks"), answer: decides("answer"), calls: decides("calls") };
}

/** Values of these kinds exist only on the server: an answer that depends on one cannot be made up. */
const ON_SERVER: ArgumentKind[] = ["file", "folder", "entity", "pattern"];

/** A question in return. */
const ASKS_BACK = "\\b(which|what|where|who|could|can|do you|please)\\b[^?]*\\?";

/** The scenario, or why there is none. */
export function compose(recipe: Recipe, performed: Performed, judged: Judged, stage: Context): Draft | string {
  const asked = recipe.asks === undefined ? undefined : performed.facts[recipe.asks]?.[0];
  if (recipe.asks !== undefined && !asked) return "no fact to ask for";
  const task = recipe.task(performed, asked, recipe.variant);
  if (task === null) return "no fact to ask for";
  const failed = performed.failed.some(Boolean);
  if (recipe.family === "error_recovery" && (!failed || performed.failed.at(-1))) return "no error to recover from";
  const stated = recipe.closing === undefined ? asked?.value : valueOf(recipe.closing);
  const parts = recipe.answer ? withoutCalls(recipe, judged, stage) : withCalls(performed, stated, judged, stage);
  if (typeof parts === "string") return parts;
  const cells = performed.made.flatMap(({ form: { tool }, values }): Cell[] =>
    values.length === 0
      ? [{ tool: tool.model_name, kind: "none" }]
      : values.map(({ leaf: { kind } }) => ({ tool: tool.model_name, kind }))
  );
  const combination = combinationOf(performed.made.map(({ form }) => form.tool));
  const id = `${recipe.family}-${digest([task, parts])}`;
  const tags = [recipe.family, combination];
  return {
    scenario: { id, task, split: "train", tags, ...(recipe.setup && { setup: recipe.setup }), ...parts },
    family: recipe.family,
    combination,
    cells,
    ...(stated !== undefined && { stated }),
  };
}

/** What composing needs besides. */
export interface Context extends Pick<Stage, "shared_names"> {
  tools: readonly ToolSpec[];
}

type Parts = Pick<Scenario, "checks" | "answer" | "calls" | "solution">;

function withCalls(
  performed: Performed,
  stated: string | number | undefined,
  judged: Judged,
  stage: Context,
): Parts | string {
  const calls = performed.made.map((made) => specOf(made, stage));
  const changing = performed.made.some(({ form: { tool }, values }) =>
    tool.annotations.read_only === false && values.length > 0
  );
  if (changing && performed.checks.length === 0) return "nothing changes that can be observed";
  const checks = judged.checks ? performed.checks : [];
  if (stated !== undefined && !judged.answer) return "no judge of answers decides success";
  const free = !performed.made.some(({ values }) => values.some(({ leaf }) => ON_SERVER.includes(leaf.kind)));
  // Without a trace on the server, what counts is that the call was made.
  const needs_calls = checks.length === 0 && (free || stated === undefined);
  if (needs_calls && !judged.calls) return "no judge of calls decides success";
  const right = calls.filter((_, i) => !performed.failed[i]);
  return {
    checks,
    ...(stated !== undefined && { answer: typeof stated === "number" ? { equals: stated } : { contains: stated } }),
    ...(needs_calls && { calls: { expected: right } }),
    solution: { calls, answer: stated === undefined ? "Done." : String(stated) },
  };
}

/** No call is needed, or none that changes anything. */
function withoutCalls(
  { family, answer }: Recipe,
  judged: Judged,
  { tools }: Context,
): Parts | string {
  if (!judged.answer) return "no judge of answers decides success";
  if (!judged.calls) return "no judge of calls decides success";
  const writes = tools.filter(({ annotations }) => !annotations.read_only).map(({ name }) => name);
  const calls = family === "no_tool"
    ? { max: 0 }
    : { forbidden: [...new Set([...writes, answer!.forbids ?? []].flat())] };
  const solution = { calls: [], answer: answer!.text };
  const expected = answer!.expected === "asks_back" ? { matches: ASKS_BACK } : answer!.expected;
  return { checks: [], answer: expected, calls, solution };
}

/** A number where the text is one. */
function valueOf(text: string): string | number {
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function combinationOf(tools: ToolSpec[]): string {
  return [...new Set(tools.map(({ model_name }) => model_name))].sort().join("+") || "no tool";
}
