/**
 * The schema of a scenario as a person writes it: only the task is needed. Every field described. What judges expect is
 * their own business: their schemas come with the parts.
 * @module
 */
import { z } from "zod";
import type { Scenario } from "../events.ts";
import type { ScenarioPart } from "../plugin.ts";
import { call_schema, path_below } from "./part_schemas.ts";

const loose = z.looseObject({});

const core = z.strictObject({
  id: z.string().min(1).optional().describe("Unique name; the file's name and a number when left out.")
    .meta({ examples: ["move-01"] }),
  task: z.string().trim().min(1).describe("What the agent is asked to do.")
    .meta({ examples: ['Write "maple" to "tree".'] }),
  split: z.enum(["train", "validation", "heldout"]).optional()
    .describe("What it is for; the stage's `split` when left out.").meta({ examples: ["train"] }),
  tags: z.array(z.string()).default([]).describe("Families that it belongs to; the first one balances training."),
  setup: z.strictObject({
    files: z.record(path_below as z.ZodString, z.string()).optional().describe("Files by path.").meta({
      examples: [{ "a.txt": "maple" }],
    }),
    directories: z.array(path_below).optional().describe("Folders.").meta({ examples: [["box"]] }),
    calls: z.array(call_schema).optional().describe("Calls made after that, in order.").meta({ examples: [[]] }),
  }).optional().describe("What is there when the rollout begins.").meta({
    examples: [{ files: { "a.txt": "maple" } }],
  }),
  checks: z.array(loose).default([]).describe("What must hold afterwards; read by judge/state."),
  answer: loose.optional().describe("The expected answer; read by judge/answer.").meta({
    examples: [{ equals: "maple" }],
  }),
  calls: loose.optional().describe("Expected calls; read by judge/calls.").meta({ examples: [{ max: 3 }] }),
  expect: z.record(z.string(), z.json()).optional().describe("What other judges expect, by the judge's name.")
    .meta({ examples: [{ tone: "polite" }] }),
  solution: z.strictObject({
    calls: z.array(call_schema).describe("Calls that reach the goal, in order.").meta({ examples: [[]] }),
    answer: z.string().default("Done.").describe("The closing answer."),
  }).optional().describe("A reference solution, replayed before it teaches.").meta({ examples: [{ calls: [] }] }),
  tools: z.array(z.string()).optional().describe(
    "Tools that the agent is offered, exactly; when left out all, or within `agent.tool_budget_tokens` those that it needs and others.",
  )
    .meta({ examples: [["write_file"]] }),
});

/** The schema of one scenario of a file, where these are the parts that judges read. */
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

/** A scenario as it was read; `id` and `split` may still be missing. */
export type WrittenScenario = z.output<typeof core>;

/** Fills in what the file left out. */
export function asScenario(written: WrittenScenario, id: string, split: Scenario["split"]): Scenario {
  return { ...written, id: written.id ?? id, split: written.split ?? split };
}
