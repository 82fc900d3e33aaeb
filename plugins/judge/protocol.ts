/**
 * Judges how the agent used MCP itself, from the recorded calls and the catalog's schemas alone; a scenario needs no
 * part for it. Calls that ended without an answer of the server (a timeout, a dead server, a refusal by hone's own
 * rules) say nothing about the agent and count as neither right nor wrong.
 * @module
 */
import { definePlugin, type Plugin, sameValue, schemaMisfit } from "@hone/hone";
import type { CallOutcome, Json, Judgement, ToolCallRecord, ToolSpec, Trajectory } from "@hone/hone";
import { z } from "zod";

const weight = (of: string, value: number) => z.number().min(0).default(value).describe(`Weight of ${of}.`);

const config = z.strictObject({
  weights: z.strictObject({
    valid: weight("the share of calls with valid arguments", 1),
    hallucinated: weight("the share of calls of tools that exist and are offered", 1),
    redundant: weight("the share of calls that repeat no earlier one in vain", 1),
    errors: weight("the share of calls that no server answered with an error", 1),
    recovered: weight("the share of errors from which the agent recovered; left out if there were none", 1),
    results: weight(
      "the share of structured results that fit the tool's `outputSchema`, which is the server's doing",
      0,
    ),
  }).prefault({}).describe("The score is the mean of these shares by weight."),
  decisive: z.boolean().default(false).describe(
    "Whether this judge determines success, which then requires a score of 1; false: it only scores.",
  ),
});

const PARTS = [
  ...["valid", "hallucinated", "redundant", "errors", "recovered", "results"],
  ...["calls", "tool_errors", "protocol_errors"],
] as const;

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "protocol",
  summary:
    "Scores how the agent used the protocol: valid arguments, existing tools, no redundant calls, recovery from errors.",
  config,
  examples: [
    { title: "Shares for the reward shaper, as `protocol.redundant`", with: {} },
    { title: "Only valid arguments and existing tools", with: { weights: { redundant: 0, errors: 0, recovered: 0 } } },
  ],
  parts: PARTS,
  create: ({ config: { weights, decisive } }) => ({
    scale: "absolute",
    decisive,
    judge: ({ group, tools }) => group.map((trajectory) => judgeOne(trajectory, tools, weights)),
  }),
});
export default plugin;

type Weights = z.output<typeof config>["weights"];

/** Outcomes that say nothing about the agent. */
const UNANSWERED = new Set<CallOutcome>(["timeout", "server_died", "cancelled", "denied"]);

/** Outcomes after which the server's state is what it was. */
const WITHOUT_EFFECT = new Set<CallOutcome>([
  "tool_error",
  "protocol_error",
  "unknown_tool",
  "invalid_arguments",
  "denied",
]);

/** One call, judged. */
interface Seen {
  call: ToolCallRecord;
  /** Undefined if no tool of this name is offered. */
  tool: ToolSpec | undefined;
  valid: boolean;
  error: boolean;
}

function judgeOne({ turns, tool_calls, outcome }: Trajectory, tools: readonly ToolSpec[], weights: Weights): Judgement {
  const unreadable = turns.filter(({ invalid_call }) => invalid_call !== undefined).length;
  const all = tool_calls.map((call) => look(call, tools));
  const seen = all.filter(({ call }) => !UNANSWERED.has(call.outcome));
  const calls = seen.length + unreadable;
  if (calls === 0) return { abstain: "the agent called no tool" };
  const unknown = seen.filter(({ tool }) => !tool);
  const invalid = seen.filter(({ tool, valid }) => tool && !valid);
  const repeated = redundant(all).filter((one) => seen.includes(one));
  const errors = seen.filter(({ error }) => error);
  const lost = errors.filter((one) => !recovered(one, seen, outcome.end));
  const results = seen.flatMap((one) => resultFits(one) ?? []);
  const by_tool = errors.filter(({ call }) => call.outcome === "tool_error");
  const share = (some: number, of: number, none: number) => of === 0 ? none : some / of;
  const parts = {
    valid: share(seen.length - unknown.length - invalid.length, calls - unknown.length, 1),
    hallucinated: unknown.length / calls,
    redundant: repeated.length / calls,
    errors: errors.length / calls,
    recovered: share(errors.length - lost.length, errors.length, 1),
    results: share(results.filter((fits) => fits).length, results.length, 1),
    calls,
    tool_errors: by_tool.length,
    protocol_errors: errors.length - by_tool.length,
  } satisfies Record<typeof PARTS[number], number>;
  const counted = { ...weights, ...(errors.length === 0 && { recovered: 0 }) };
  return { score: scoreOf(parts, counted), reason: reasonOf({ unreadable, unknown, invalid, repeated, lost }), parts };
}

function scoreOf(parts: Record<keyof Weights, number>, weights: Weights): number {
  const right = {
    ...parts,
    hallucinated: 1 - parts.hallucinated,
    redundant: 1 - parts.redundant,
    errors: 1 - parts.errors,
  };
  const names = Object.keys(weights) as (keyof Weights)[];
  const total = names.reduce((sum, name) => sum + weights[name], 0);
  return total === 0 ? 1 : Math.min(1, names.reduce((sum, name) => sum + weights[name] * right[name], 0) / total);
}

function look(call: ToolCallRecord, tools: readonly ToolSpec[]): Seen {
  const tool = call.outcome === "unknown_tool"
    ? undefined
    : tools.find(({ server, name }) => server === call.server && name === call.tool);
  const misfit = tool && schemaMisfit(tool.input_schema, call.arguments, "the arguments");
  const valid = tool !== undefined && call.outcome !== "invalid_arguments" && misfit === null;
  return { call, tool, valid, error: call.outcome === "tool_error" || call.outcome === "protocol_error" };
}

/** Whether a result fits its tool's output schema; undefined if there is nothing to compare. */
function resultFits({ call, tool }: Seen): boolean | undefined {
  if (!tool?.output_schema || call.outcome !== "ok") return undefined;
  const result = call.result;
  if (result === null || typeof result !== "object" || Array.isArray(result) || "cut" in result) return undefined;
  return result.structuredContent !== undefined &&
    schemaMisfit(tool.output_schema, result.structuredContent, "the result") === null;
}

/**
 * Calls that repeat an earlier one with the same result, although nothing may have changed in between: every call
 * between them was refused, failed, or was of a tool that is annotated as read-only. A tool annotated as one that writes, and not as
 * idempotent, may be called twice for good reason.
 */
function redundant(seen: readonly Seen[]): Seen[] {
  return seen.filter((one, at) => {
    const { call, tool } = one;
    if (tool?.annotations.read_only === false && !tool.annotations.idempotent && call.outcome === "ok") return false;
    for (let before = at - 1; before >= 0; before--) {
      if (isRepeat(call, seen[before]!.call)) return true;
      if (mayChange(seen[before]!)) return false;
    }
    return false;
  });
}

function isRepeat(call: ToolCallRecord, earlier: ToolCallRecord): boolean {
  return call.server === earlier.server && call.tool === earlier.tool && call.outcome === earlier.outcome &&
    call.text === earlier.text && sameValue(call.arguments, earlier.arguments as Json) &&
    sameValue(call.result, earlier.result);
}

function mayChange({ call, tool }: Seen): boolean {
  return !WITHOUT_EFFECT.has(call.outcome) && tool?.annotations.read_only !== true;
}

/** An error is recovered from by a later success of the same tool, or by any later success if the agent then finished. */
function recovered({ call: failed }: Seen, seen: readonly Seen[], end: Trajectory["outcome"]["end"]): boolean {
  const later = seen.slice(seen.findIndex(({ call }) => call === failed) + 1).filter(({ call }) =>
    call.outcome === "ok"
  );
  if (later.some(({ call }) => call.server === failed.server && call.tool === failed.tool)) return true;
  return later.length > 0 && (end === "answered" || end === "completed");
}

function reasonOf(
  { unreadable, unknown, invalid, repeated, lost }:
    & { unreadable: number }
    & Record<"unknown" | "invalid" | "repeated" | "lost", Seen[]>,
): string {
  const named = (some: Seen[], what: string) => some[0] ? [`${some.length} ${what} (${some[0].call.tool})`] : [];
  const found = [
    ...(unreadable > 0 ? [`${unreadable} unreadable`] : []),
    ...named(unknown, "of unknown tools"),
    ...named(invalid, "with invalid arguments"),
    ...named(repeated, "redundant"),
    ...named(lost, "failed without recovery"),
  ];
  return found.length === 0 ? "every call is in order" : `calls: ${found.join(", ")}`;
}
