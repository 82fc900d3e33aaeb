/**
 * The schema of a scenario in a file: only the task is required. Judges' expectations have schemas of their own, which
 * come with the judges' parts.
 * @module
 */
import { z } from "zod";
import type { Scenario } from "../events.ts";
import type { ScenarioPart } from "../plugin.ts";
import { call_schema, path_below } from "./part_schemas.ts";

const loose = z.looseObject({});

const core = z.strictObject({
  id: z.string().min(1).optional().describe("Unique name. Default: the file's name and a number.")
    .meta({ examples: ["move-01"] }),
  task: z.string().trim().min(1).describe("The request to the agent.")
    .meta({ examples: ['Write "maple" to "tree".'] }),
  split: z.enum(["train", "validation", "heldout"]).optional()
    .describe("Split of the scenario. Default: the stage's `split`.").meta({ examples: ["train"] }),
  tags: z.array(z.string()).default([]).describe("Families of the scenario; training is balanced by the first one."),
  setup: z.strictObject({
    files: z.record(path_below as z.ZodString, z.string()).optional().describe("File contents by path.").meta({
      examples: [{ "a.txt": "maple" }],
    }),
    directories: z.array(path_below).optional().describe("Folders.").meta({ examples: [["box"]] }),
    calls: z.array(call_schema).optional().describe("Calls made afterwards, in order.").meta({ examples: [[]] }),
  }).optional().describe("Initial state of the rollout's environment.").meta({
    examples: [{ files: { "a.txt": "maple" } }],
  }),
  checks: z.array(loose).default([]).describe("Conditions on the end state; read by judge/state."),
  answer: loose.optional().describe("The expected answer; read by judge/answer.").meta({
    examples: [{ equals: "maple" }],
  }),
  calls: loose.optional().describe("Expected calls; read by judge/calls.").meta({ examples: [{ max: 3 }] }),
  expect: z.record(z.string(), z.json()).optional().describe("Expectations of other judges, by the judge's name.")
    .meta({ examples: [{ polite: { word: "thank" } }] }),
  solution: z.strictObject({
    calls: z.array(call_schema).describe("Calls that reach the goal, in order.").meta({ examples: [[]] }),
    answer: z.string().default("Done.").describe("The closing answer."),
  }).optional().describe("A reference solution, verified by replay before it is used for training.").meta({
    examples: [{ calls: [] }],
  }),
  tools: z.array(z.string()).optional().describe(
    "The exact list of tools offered to the agent. Default: all, or with `agent.tool_budget_tokens` those that it needs and others within it.",
  )
    .meta({ examples: [["write_file"]] }),
});

/** The schema of one scenario in a file, given the parts that judges read. */
export function scenarioSchema(parts: readonly ScenarioPart[]) {
  const own = parts.filter(({ field }) => field === undefined);
  const at_top = Object.fromEntries(
    parts.filter(({ field }) => field).map(({ field, schema }) => {
      const part = schema.optional();
      return [field!, field === "checks" ? part.default([]) : part];
    }),
  );
  const expect = own.length > 0 && {
    expect: z.strictObject(Object.fromEntries(own.map(({ judge, schema }) => [judge, schema.optional()]))).optional(),
  };
  return core.extend({ ...at_top, ...expect }) as unknown as typeof core;
}

/** A parsed scenario; `id` and `split` may still be missing. */
export type WrittenScenario = z.output<typeof core>;

/** Fills in a missing id and split. */
export function asScenario(written: WrittenScenario, id: string, split: Scenario["split"]): Scenario {
  return { ...written, id: written.id ?? id, split: written.split ?? split };
}
