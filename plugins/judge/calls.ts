/**
 * Judges the agent's calls against those that the scenario expects, forbids or limits. Its parts count mistakes, for a
 * reward shaper that penalizes them.
 * @module
 */
import { definePlugin, type NamedCall, type Plugin, sameValue, schemaMisfit } from "@hone/hone";
import type { JsonObject, Judgement, ToolCallRecord, Trajectory } from "@hone/hone";
import { call_fields, json_schema } from "@hone/hone/schemas";
import { z } from "zod";

const config = z.strictObject({
  order: z.enum(["any", "as_listed"]).default("any").describe(
    "Whether expected calls must be made in the order of the scenario, unless that says so itself.",
  ),
  decisive: z.boolean().default(true).describe(
    "Whether this judge determines success, which then requires a score of 1; false: it only scores.",
  ),
});

const wanted_call = z.strictObject({
  ...call_fields,
  schema: json_schema.optional().describe(
    "JSON Schema that the arguments must fit, for those that cannot be written down exactly.",
  ).meta({ examples: [{ required: ["content"], properties: { content: { pattern: "maple" } } }] }),
});
type WantedCall = z.output<typeof wanted_call>;

const expected_calls = z.strictObject({
  expected: z.array(wanted_call).optional().describe(
    "Calls that the agent must make, successfully; a call may have more arguments than these.",
  ).meta({ examples: [[]] }),
  order: z.enum(["any", "as_listed"]).optional().describe(
    "Whether the expected calls must be made in this order. Default: the judge's setting.",
  ).meta({ examples: ["as_listed"] }),
  forbidden: z.array(z.union([z.string(), wanted_call])).optional().describe(
    "Tools that the agent must not call at all, or calls that it must not make, failed ones included.",
  ).meta({ examples: [["delete_file"]] }),
  max: z.int().min(0).optional().describe("Maximum number of calls, failed ones included.").meta({ examples: [3] }),
}).describe("Calls that the agent must make, must not make, or may make at most; read by judge/calls.").meta({
  examples: [{
    expected: [{ server: "files", tool: "write_file", arguments: { path: "tree.txt" } }],
    forbidden: ["delete_file"],
    max: 3,
  }, {
    expected: [
      { tool: "list_directory", arguments: { path: "." } },
      {
        tool: "write_file",
        schema: { required: ["content"], properties: { content: { pattern: "maple" } } },
      },
    ],
    order: "as_listed",
    forbidden: [{
      server: "files",
      tool: "write_file",
      arguments: {},
      schema: { required: ["path"], properties: { path: { pattern: "^/etc/" } } },
    }],
  }],
});
type ExpectedCalls = z.output<typeof expected_calls>;

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "calls",
  summary:
    "Scores the agent's calls against the scenario's expected and forbidden calls and its maximum number of calls.",
  config,
  examples: [{ title: "Count mistakes for the reward shaper without deciding success", with: { decisive: false } }],
  expects: { field: "calls", schema: expected_calls, calls: named },
  parts: ["expected", "near", "forbidden", "over", "calls", "invalid", "failed"],
  create: ({ config }) => ({
    scale: "absolute",
    decisive: config.decisive,
    judge: ({ group, expected }) =>
      // A non-decisive judge still counts mistakes if no calls are expected.
      expected || !config.decisive
        ? group.map((trajectory) => judgeOne(trajectory, expected ?? {}, config.order))
        : group.map(() => ({ abstain: "the scenario expects no calls" })),
  }),
});
export default plugin;

function named({ expected = [], forbidden = [] }: ExpectedCalls): NamedCall[] {
  return [
    ...expected.map((call, i): NamedCall => ({ as: "expected", call, path: ["expected", i, "tool"] })),
    ...forbidden.map((one, i): NamedCall =>
      typeof one === "string"
        ? { as: "forbidden", call: { tool: one }, path: ["forbidden", i] }
        : { as: "forbidden", call: one, path: ["forbidden", i, "tool"] }
    ),
  ];
}

function judgeOne({ turns, tool_calls }: Trajectory, calls: ExpectedCalls, usual: "any" | "as_listed"): Judgement {
  const wrong = (call: ToolCallRecord) => call.outcome === "unknown_tool" || call.outcome === "invalid_arguments";
  const made = tool_calls.filter(({ outcome }) => outcome === "ok");
  const expected = calls.expected ?? [];
  const found = (calls.order ?? usual) === "any" ? foundInAnyOrder(made, expected) : foundInOrder(made, expected);
  const forbidden = tool_calls.filter((call) => calls.forbidden?.some((one) => isForbidden(call, one))).length;
  const over = Math.max(0, tool_calls.length - (calls.max ?? Infinity));
  const share = expected.length === 0 ? 1 : found.length / expected.length;
  const missing = expected.find((spec) => !found.includes(spec));
  return {
    score: forbidden > 0 || over > 0 ? 0 : share,
    reason: forbidden > 0
      ? `a forbidden ${
        calls.forbidden!.every((one) => typeof one === "string") ? "tool was called" : "call was made"
      } ${times(forbidden)}`
      : over > 0
      ? `${tool_calls.length} calls: expected at most ${calls.max}`
      : missing
      ? `${missing.tool} was not called ${withWords(missing)}`
      : "the calls are as expected",
    parts: {
      expected: share,
      near: near(tool_calls, expected),
      forbidden,
      over,
      calls: tool_calls.length,
      invalid: turns.filter(({ invalid_call }) => invalid_call !== undefined).length + tool_calls.filter(wrong).length,
      failed: tool_calls.filter((call) => call.outcome !== "ok" && !wrong(call)).length,
    },
  };
}

function times(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

/** What was expected of the arguments, in words. */
function withWords({ arguments: exact, schema }: WantedCall): string {
  const fitting = "with arguments that fit the schema";
  if (!schema) return `with ${JSON.stringify(exact)}`;
  return Object.keys(exact).length === 0 ? fitting : `with ${JSON.stringify(exact)} and ${fitting}`;
}

/** A call matches if it has the expected arguments; it may have more. */
function fits(call: ToolCallRecord, { server, tool, arguments: exact, schema }: WantedCall): boolean {
  return call.tool === tool && (server === undefined || call.server === server) &&
    sameValue(call.arguments, exact, 0, true) && (schema === undefined || fitsSchema(call, schema));
}

function fitsSchema({ arguments: given }: ToolCallRecord, schema: JsonObject): boolean {
  return schemaMisfit(schema, given, "the arguments", { strict: true }) === null;
}

function isForbidden(call: ToolCallRecord, one: string | WantedCall): boolean {
  return typeof one === "string" ? call.tool === one : fits(call, one);
}

/**
 * Mean over expected calls of the best match of any call, 0 to 1: one point for the right tool, one for every right
 * argument and one for fitting the schema, as a share of the possible points; an unexpected argument counts as a wrong
 * one.
 */
function near(made: ToolCallRecord[], expected: WantedCall[]): number {
  const nearest = expected.map(({ tool, arguments: wanted, schema }) => {
    const names = Object.keys(wanted);
    const described = new Set(Object.keys((schema?.properties ?? {}) as JsonObject));
    const shares = made.filter((call) => call.tool === tool).map((call) => {
      const right = names.filter((name) => sameValue(call.arguments[name], wanted[name]!)).length;
      const given = Object.keys(call.arguments).filter((name) => !described.has(name));
      const asked = new Set([...names, ...given]).size + (schema ? 1 : 0);
      return (1 + right + (schema && fitsSchema(call, schema) ? 1 : 0)) / (1 + asked);
    });
    return Math.max(0, ...shares);
  });
  return nearest.length === 0 ? 1 : nearest.reduce((sum, each) => sum + each, 0) / nearest.length;
}

function foundInAnyOrder(made: ToolCallRecord[], expected: WantedCall[]): WantedCall[] {
  const left = [...made];
  return expected.filter((spec) => {
    const at = left.findIndex((call) => fits(call, spec));
    if (at >= 0) left.splice(at, 1);
    return at >= 0;
  });
}

function foundInOrder(made: ToolCallRecord[], expected: WantedCall[]): WantedCall[] {
  let from = 0;
  return expected.filter((spec) => {
    const at = made.findIndex((call, index) => index >= from && fits(call, spec));
    if (at >= 0) from = at + 1;
    return at >= 0;
  });
}
